//! Runs retention: projections, positions, states, gate.

use super::{
    super::{
        Spec,
        linear::LinearInput,
        retention::{Layer, RetentionWeights},
        rope::Rotated,
        spec::Retention,
    },
    Decoder,
};
use crate::{Result, math};

impl Decoder {
    /// The output of a retention for the normalised tokens in `buffers.h`, left there.
    pub(super) fn retention(
        &mut self,
        spec: &Spec,
        retention: &Retention,
        weights: &RetentionWeights,
        state: usize,
    ) -> Result<()> {
        let Self { buffers: b, rows, cache, states, tables, retention: scratch, pool, model, .. } = self;
        let (rotation, pool) = (spec.rotation.as_ref(), &**pool);
        let n = b.x.len() / spec.hidden;
        let (key_width, value_width) = (retention.key_width(), retention.value_width());
        let (q, k) = (&mut b.q[..n * key_width], &mut b.k[..n * key_width]);
        let (v, gate) = (&mut b.v[..n * value_width], &mut b.gate[..n * value_width]);
        let mut input = LinearInput::new(rows, &b.h, rotation, pool);
        input.apply(retention.q, &weights.q, q)?;
        input.apply(retention.k, &weights.k, k)?;
        input.apply(retention.v, &weights.v, v)?;
        input.apply(retention.gate, &weights.gate, gate)?;
        k.iter_mut().for_each(|k| *k *= retention.scale);
        let first = cache.len();
        let rope = (&spec.ropes[retention.rope], &tables[retention.rope]);
        let tokens = q.chunks_exact_mut(key_width).zip(k.chunks_exact_mut(key_width));
        for (i, ((q, k), v)) in tokens.zip(v.chunks_exact(value_width)).enumerate() {
            rope.0.rotate(Rotated::Query, q, retention.key_dim, rope.1, i);
            rope.0.rotate(Rotated::Key, k, retention.key_dim, rope.1, i);
            states.write(state, first + i, k, v)?;
        }
        let out = &mut b.attn[..n * value_width];
        scratch.run(&Layer { isa: model.isa, retention, states, state, first, pool }, q, out)?;
        out.iter_mut().zip(gate).for_each(|(out, gate)| *out *= math::silu(*gate));
        LinearInput::new(rows, out, rotation, pool).apply(retention.o, &weights.o, &mut b.h)
    }
}
