//! How many bytes of weights a token reads.

use super::{
    BlockWeights, FfnWeights, LinearWeights, MlpWeights, Model, Sparsity,
    screened_head::Screen,
    spec::{Exit, Run},
    tensor_names::LinearRole,
};
use crate::{kernel::Skips, matrix::Matrix};

impl Model {
    /// Bytes that are read to decode one token: every block that runs, as often as it runs, of its experts those that
    /// are active, and the head. Sparse layouts count as if nothing were 0: see [`Model::skipped_bytes`].
    pub fn bytes_per_token(&self) -> usize {
        self.bytes_of_loops(self.spec.program.times())
    }

    /// The same with so many passes through the model's loop.
    pub fn bytes_of_loops(&self, loops: usize) -> usize {
        let head = self.screen.as_ref().map_or(self.head().bytes(), Screen::bytes);
        self.spec.program.runs(loops).map(|run| self.bytes_of_run(run)).sum::<usize>()
            + self.bytes_of_exits(loops)
            + head
    }

    /// Bytes that one pass through the loop reads; 0 where there is none.
    pub fn bytes_of_pass(&self) -> usize {
        let [one, two] = [1, 2].map(|loops| self.bytes_of_loops(loops));
        two - one
    }

    /// Of [`Model::bytes_of_loops`], those that sparse layouts leave unread where a token has such zeros.
    pub fn skipped_bytes(&self, sparsity: &Sparsity, loops: usize) -> usize {
        let shares = [
            (LinearRole::O, Skips::Columns, sparsity.output),
            (LinearRole::Up, Skips::Rows, sparsity.gate),
            (LinearRole::Down, Skips::Columns, sparsity.down),
        ];
        let of_block = |block: &BlockWeights| -> f64 {
            let skipped = shares.iter().filter_map(|&(role, skips, zeros)| {
                let matrix = &block.linear(role)?.matrix;
                (matrix.skips() == skips).then(|| matrix.bytes() as f64 * zeros.share())
            });
            skipped.sum()
        };
        self.spec.program.runs(loops).map(|run| of_block(&self.blocks[run.block])).sum::<f64>() as usize
    }

    /// What a loop reads beside its blocks: the adapter in each pass, the gate after each, the router once.
    fn bytes_of_exits(&self, loops: usize) -> usize {
        let Some(body) = &self.spec.program.body else { return 0 };
        let adapter = self.looped.adapter.as_ref().map_or(0, Matrix::bytes);
        let exit = self.looped.exit.as_ref().map_or(0, |exit| exit.matrix.bytes());
        let asked = match body.exit {
            Exit::Gate { threshold: Some(_) } => loops,
            Exit::Last | Exit::Gate { threshold: None } => 0,
            Exit::Router { .. } => 1,
        };
        loops * adapter + asked * exit
    }

    fn bytes_of_run(&self, run: Run) -> usize {
        let (spec, block) = (&self.spec.blocks[run.block], &self.blocks[run.block]);
        let of_linear = |linear: &LinearWeights| {
            let lora = linear.lora.get(run.pass).map_or(0, |lora| lora.a.bytes() + lora.b.bytes());
            linear.matrix.bytes() + lora
        };
        let of_mlp = |mlp: &MlpWeights| -> usize {
            [Some(&mlp.gate), mlp.up.as_ref(), Some(&mlp.down)].into_iter().flatten().map(of_linear).sum()
        };
        let mixer = LinearRole::ALL.into_iter().filter_map(|role| block.mixer.body.linear(role));
        let ffn = match &block.ffn.body {
            FfnWeights::Dense(mlp) => of_mlp(mlp),
            FfnWeights::Experts(weights) => {
                let active = spec.ffn.body.experts().map_or(0, |experts| experts.active);
                weights.router.matrix.bytes()
                    + weights.cosine.as_ref().map_or(0, |cosine| cosine.reduction.bytes())
                    + weights.shared.as_ref().map_or(0, of_mlp)
                    + weights.shared_gate.as_ref().map_or(0, Matrix::bytes)
                    + active * weights.experts.iter().map(of_mlp).sum::<usize>() / weights.experts.count()
            }
        };
        mixer.map(of_linear).sum::<usize>() + ffn
    }
}
