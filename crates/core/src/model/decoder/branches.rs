//! Runs the bodies of branches: attention and feed-forward networks.

use super::{
    super::{
        AttentionWeights, BranchWeights, FfnWeights,
        attention::Layer,
        experts::{FfnContext, HiddenBuffers, hidden_layer},
        linear::{LinearInput, clip, norm_in_place, norm_rows},
        resize,
        rope::Rotated,
        spec::{self, Branch, Ffn, Run, Spec},
    },
    BlockTokens, Decoder,
};
use crate::{
    Result, math,
    quantiser::{CacheCodes, quantise_row},
};

impl Decoder {
    /// The output of an attention for the normalised tokens in `buffers.h`, left there.
    pub(super) fn attention(
        &mut self,
        spec: &Spec,
        (attention, body): (&spec::Attention, &AttentionWeights),
        Run { state, pass, .. }: Run,
        tokens: &BlockTokens<'_>,
    ) -> Result<()> {
        let rotation = spec.rotation.as_ref();
        let Self { buffers: b, rows, cache, tables, attention: scratch, pool, sparsity, .. } = self;
        let pool = &**pool;
        let n = b.x.len() / spec.hidden;
        let (q_width, kv_width) = (attention.q_width(), attention.kv_width());
        let (q, k, v) = (&mut b.q[..n * q_width], &mut b.k[..n * kv_width], &mut b.v[..n * kv_width]);
        let mut input = LinearInput::new(rows, &b.h, rotation, pool).in_pass(pass);
        input.apply(attention.q, &body.q, q)?;
        input.apply(attention.k, &body.k, k)?;
        input.apply(attention.v, &body.v, v)?;
        let first = tokens.first;
        let heads = q.chunks_exact_mut(q_width).zip(k.chunks_exact_mut(kv_width));
        clip(v, attention.clip);
        for (i, ((q, k), v)) in heads.zip(v.chunks_exact_mut(kv_width)).enumerate() {
            // Which token of the block it is.
            let token = tokens.some.map_or(i, |some| some[i]);
            let both = [(Rotated::Query, &mut *q, &body.query_norm), (Rotated::Key, &mut *k, &body.key_norm)];
            for (which, x, gain) in both {
                let norm = |after| attention.qk_norm.filter(|qk| qk.after_rope == after).map(|qk| qk.norm);
                norm_in_place(x, norm(false), gain);
                clip(x, attention.clip);
                if let Some(rope) = attention.rope {
                    spec.ropes[rope].rotate(which, x, attention.head_dim, &tables[rope], token);
                }
                norm_in_place(x, norm(true), gain);
            }
            if let Some(codes) = spec.cache_codes {
                quantise_heads([q, k, v], attention.head_dim, codes, cache.len() + token);
            }
            if !tokens.left.get(token).is_some_and(|left| *left) {
                cache.write(state, first + i, k, v)?;
            }
        }
        let out = &mut b.attn[..n * q_width];
        let sinks = body.sinks.as_deref();
        let relative_bias = &self.model.relative_bias[..];
        let table = attention.rope.map(|rope| &tables[rope]);
        let isa = self.model.isa;
        let layer = Layer { isa, attention, sinks, relative_bias, table, cache, state, first, pool };
        scratch.run(&layer, q, out)?;
        norm_in_place(out, attention.sub_norm, &body.sub_norm);
        LinearInput::new(rows, out, rotation, pool).in_pass(pass).apply(attention.o, &body.o, &mut b.h)?;
        if let Some(sparsity) = sparsity {
            sparsity.output.count_codes(rows);
        }
        Ok(())
    }

    /// The feed-forward branch of a block.
    pub(super) fn ffn(
        &mut self,
        spec: &Spec,
        (branch, weights): (&Branch<Ffn>, &BranchWeights<FfnWeights>),
        Run { block, pass, .. }: Run,
        tokens: &BlockTokens<'_>,
    ) -> Result<()> {
        let active = self.active[block];
        let Self { buffers: b, rows, pool, experts: scratch, sparsity, .. } = self;
        let context = FfnContext { hidden: spec.hidden, rotation: spec.rotation.as_ref(), pool: &**pool };
        norm_rows(&b.x, spec.hidden, branch.pre, &weights.pre, &mut b.h);
        match (&branch.body, &weights.body) {
            (Ffn::Dense(mlp), FfnWeights::Dense(body)) => {
                let n = b.x.len() / spec.hidden;
                let (gate, up) = (&mut b.gate[..n * mlp.width], &mut b.up[..n * mlp.width]);
                let mut input = LinearInput::new(rows, &b.h, context.rotation, context.pool).in_pass(pass);
                hidden_layer(mlp, body, &mut input, gate, up)?;
                let mut input = LinearInput::new(rows, gate, context.rotation, context.pool).in_pass(pass);
                input.apply(mlp.down, &body.down, &mut b.h)?;
                if let Some(sparsity) = sparsity {
                    sparsity.gate.count(gate);
                    sparsity.down.count_codes(rows);
                }
            }
            (Ffn::Experts(experts), FfnWeights::Experts(body)) => {
                let mut buffers = HiddenBuffers { gate: &mut b.gate, up: &mut b.up };
                resize(&mut b.mixed, b.h.len())?;
                let layer = (experts, body, active);
                scratch.run(layer, &context, rows, &mut buffers, (&b.h, &mut b.mixed))?;
                if let Some(chosen) = &mut self.chosen {
                    for (i, choices) in scratch.choices().chunks_exact(active).enumerate() {
                        chosen.note(self.cache.len() + tokens.some.map_or(i, |some| some[i]), choices)?;
                    }
                }
                core::mem::swap(&mut b.h, &mut b.mixed);
            }
            _ => unreachable!("weights are loaded as the spec says"),
        }
        add_branch(&mut b.x, &mut b.h, branch, weights);
        Ok(())
    }
}

/// Replaces queries, keys and values of the token at `position` by what their codes stand for.
fn quantise_heads([q, k, v]: [&mut [f32]; 3], dim: usize, codes: CacheCodes, position: usize) {
    let bits = if position == 0 { codes.first_bits } else { codes.bits };
    for (x, bits) in [(q, codes.query_bits), (k, Some(bits)), (v, Some(bits))] {
        if let Some(bits) = bits {
            x.chunks_exact_mut(dim).for_each(|head| quantise_row(head, bits));
        }
    }
}

/// `x ← after(residual · x + scale · post(h))`.
pub(super) fn add_branch<S, W>(x: &mut [f32], h: &mut [f32], branch: &Branch<S>, weights: &BranchWeights<W>) {
    norm_in_place(h, branch.post, &weights.post);
    scale_by(h, branch.scale);
    scale_by(x, branch.residual);
    math::add(x, h);
    norm_in_place(x, branch.after, &weights.after);
}

/// Multiplies by a factor that most models do not have.
pub(super) fn scale_by(x: &mut [f32], factor: f32) {
    if factor != 1.0 {
        x.iter_mut().for_each(|x| *x *= factor);
    }
}
