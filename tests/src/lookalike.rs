//! Small files that look like published ones: a family's keys, names and encodings, with random weights and a
//! vocabulary of bytes.

use ternlight_core::{
    container::{Meta, Value, write},
    format::{self, Encoding},
};

use crate::gguf::Gguf;

/// Width of the residual stream, and of the feed-forward network.
pub const HIDDEN: usize = 256;
/// Query heads.
pub const HEADS: usize = 4;
/// Key/value heads.
pub const KV_HEADS: usize = 2;
/// Width of a head.
pub const HEAD_DIM: usize = 64;
/// Layers.
pub const LAYERS: usize = 2;

/// Numbers that look random and are always the same.
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0 >> 8
    }

    /// A matrix in some encoding: ternary codes where it has them, else blocks of random bytes with small scales.
    fn matrix(&mut self, encoding: Encoding, rows: usize, cols: usize) -> Vec<u8> {
        let mut out = Vec::new();
        if matches!(encoding, Encoding::I2_S | Encoding::TQ1_0 | Encoding::TQ2_0) {
            for _ in 0..rows {
                let codes = Vec::from_iter((0..cols).map(|_| (self.next() % 3) as i8 - 1));
                format::pack_row(encoding, &codes, 0.05, &mut out).expect("whole blocks");
            }
            if encoding == Encoding::I2_S {
                format::pack_i2_s_tail(0.05, &mut out);
            }
            return out;
        }
        if encoding == Encoding::F16 {
            let values = Vec::from_iter((0..rows * cols).map(|_| self.next() as f32 / 8_388_608.0 - 1.0));
            format::pack_f16(&values, &mut out);
            return out;
        }
        let (block_cols, block_bytes) = encoding.block();
        // Where a block has its f16 scales.
        let scales: &[usize] = match encoding {
            Encoding::Q4_K => &[0, 2],
            Encoding::Q6_K => &[208],
            Encoding::Q1_0 | Encoding::Q2_0_128 => &[0],
            Encoding::STQ1_0 => &[40],
            other => panic!("{}", other.name()),
        };
        for _ in 0..rows * cols / block_cols {
            let mut block = Vec::from_iter((0..block_bytes).map(|_| self.next() as u8));
            // 2⁻⁸ as f16.
            scales.iter().for_each(|&at| block[at..at + 2].copy_from_slice(&0x1c00u16.to_le_bytes()));
            out.extend(block);
        }
        out
    }
}

/// How a family stores its matrices, and what its blocks have.
pub struct Shape {
    /// Of the matrices of blocks.
    pub body: Encoding,
    /// Of the embedding.
    pub embedding: Encoding,
    /// `None`: the embedding is the head.
    pub head: Option<Encoding>,
    /// Norms before the output and down projections.
    pub sub_norms: bool,
    /// Norms of queries and keys.
    pub qk_norms: bool,
}

/// A file of an architecture, with the dimensions as every converter writes them and these tokens.
///
/// # Panics
/// For encodings that it cannot make up.
pub fn look(arch: &str, shape: &Shape, tokens: &Tokens) -> Gguf {
    let mut random = Random(158);
    let mut tensors = Vec::new();
    let mut add = |name: String, encoding: Encoding, dims: &[usize], data: Vec<u8>| {
        let shape = dims.iter().map(|&n| n as u64).collect();
        tensors.push((write::TensorSpec { name, shape, encoding }, data));
    };
    let vocab = tokens.texts.len();
    let embedding = random.matrix(shape.embedding, vocab, HIDDEN);
    add("token_embd.weight".into(), shape.embedding, &[vocab, HIDDEN], embedding);
    let kv = KV_HEADS * HEAD_DIM;
    for block in 0..LAYERS {
        let vectors = [
            ("attn_norm", HIDDEN, true),
            ("ffn_norm", HIDDEN, true),
            ("attn_sub_norm", HIDDEN, shape.sub_norms),
            ("ffn_sub_norm", HIDDEN, shape.sub_norms),
            ("attn_q_norm", HEAD_DIM, shape.qk_norms),
            ("attn_k_norm", HEAD_DIM, shape.qk_norms),
        ];
        for (name, len, _) in vectors.into_iter().filter(|(.., there)| *there) {
            add(
                format!("blk.{block}.{name}.weight"),
                Encoding::F32,
                &[len],
                [1f32.to_le_bytes(); 256][..len].concat(),
            );
        }
        for (name, rows) in [
            ("attn_q", HIDDEN),
            ("attn_k", kv),
            ("attn_v", kv),
            ("attn_output", HIDDEN),
            ("ffn_gate", HIDDEN),
            ("ffn_up", HIDDEN),
            ("ffn_down", HIDDEN),
        ] {
            let data = random.matrix(shape.body, rows, HIDDEN);
            add(format!("blk.{block}.{name}.weight"), shape.body, &[rows, HIDDEN], data);
        }
    }
    add("output_norm.weight".into(), Encoding::F32, &[HIDDEN], [1f32.to_le_bytes(); HIDDEN].concat());
    if let Some(encoding) = shape.head {
        let data = random.matrix(encoding, vocab, HIDDEN);
        add("output.weight".into(), encoding, &[vocab, HIDDEN], data);
    }
    Gguf { meta: keys(arch, tokens), tensors }
}

/// The keys that every converter writes.
fn keys(arch: &str, tokens: &Tokens) -> Meta {
    let mut meta = tokens.meta();
    meta.0.insert("general.architecture".into(), Value::Str(arch.into()));
    meta.0.insert("general.quantization_version".into(), Value::Int(2));
    for (key, value) in [
        ("block_count", LAYERS),
        ("context_length", 4096),
        ("embedding_length", HIDDEN),
        ("feed_forward_length", HIDDEN),
        ("attention.head_count", HEADS),
        ("attention.head_count_kv", KV_HEADS),
        ("rope.dimension_count", HEAD_DIM),
        ("vocab_size", tokens.texts.len()),
    ] {
        meta.0.insert(format!("{arch}.{key}"), Value::Int(value as i64));
    }
    for (key, value) in [("attention.layer_norm_rms_epsilon", 1e-5), ("rope.freq_base", 500_000.0)] {
        meta.0.insert(format!("{arch}.{key}"), Value::Float(value));
    }
    meta
}

/// A vocabulary: every byte, control tokens, and a piece or two.
pub struct Tokens {
    model: &'static str,
    /// The spelling of each.
    pub texts: Vec<String>,
    types: Vec<i64>,
    own: Vec<(&'static str, Value)>,
}

impl Tokens {
    /// GPT-2's kind, with one merge.
    pub fn byte_level(control: &[&str]) -> Self {
        let printable = |b: &u32| matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let of = |byte: u32| match printable(&byte) {
            true => byte,
            false => 256 + (0..byte).filter(|b| !printable(b)).count() as u32,
        };
        let bytes = (0..256).map(|byte| char::from_u32(of(byte)).expect("a character").to_string());
        let mut texts = Vec::from_iter(bytes.chain(control.iter().map(|&text| text.into())));
        let mut types = Vec::from_iter((0..texts.len()).map(|id| if id < 256 { 1 } else { 3 }));
        // What the one merge makes.
        texts.push("ab".into());
        types.push(1);
        Self { model: "gpt2", texts, types, own: vec![("merges", Value::Strs(vec!["a b".into()]))] }
    }

    /// SentencePiece's, with three tokens of its own before the bytes.
    pub fn sentence_piece(control: &[&str]) -> Self {
        let (mut texts, mut types) = (vec!["<unk>".to_string(), "<s>".into(), "</s>".into()], vec![2, 3, 3]);
        texts.extend((0..=255u8).map(|byte| format!("<0x{byte:02X}>")));
        types.extend([6; 256]);
        texts.extend(["▁", "a", "b", "▁a", "ab"].map(String::from));
        types.extend([1; 5]);
        texts.extend(control.iter().map(|&text| text.to_string()));
        types.extend(control.iter().map(|_| 3));
        let scores = Value::Floats((0..texts.len()).map(|id| -(id as f32)).collect());
        Self { model: "llama", texts, types, own: vec![("scores", scores)] }
    }

    /// Adds a key of `tokenizer.ggml`.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: Value) -> Self {
        self.own.push((key, value));
        self
    }

    /// The id of a control token.
    ///
    /// # Panics
    /// If there is none.
    pub fn id(&self, text: &str) -> i64 {
        self.texts.iter().position(|known| known == text).expect("a token") as i64
    }

    fn meta(&self) -> Meta {
        let mut meta = Meta::default();
        let mut set = |key: &str, value| meta.0.insert(format!("tokenizer.ggml.{key}"), value);
        set("model", Value::Str(self.model.into()));
        set("tokens", Value::Strs(self.texts.clone()));
        set("token_type", Value::Ints(self.types.clone()));
        for (key, value) in &self.own {
            set(key, value.clone());
        }
        meta
    }
}
