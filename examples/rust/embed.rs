//! Sorts texts by how similar they are to the first one.
//!
//! ```sh
//! cargo run --release -p ternlight-examples --bin embed -- "a cat" "a kitten" "the price of steel"
//! ```
//!
//! `MODEL` in the environment names the model, best one made for embeddings; without it, it is Tern, which was not.

use std::error::Error;

use ternlight_engine::Pooling;

fn main() -> Result<(), Box<dyn Error>> {
    let engine = ternlight_examples::open(std::env::var("MODEL").ok().as_deref())?;
    let texts: Vec<String> = std::env::args().skip(1).collect();
    let [first, others @ ..] = &texts[..] else {
        return Err("usage: embed TEXT OTHER...".into());
    };
    let query = engine.embed(first, Pooling::Last)?;
    let mut similar = Vec::new();
    for text in others {
        // Embeddings have length 1, so the dot product is the cosine.
        let cosine: f32 = engine.embed(text, Pooling::Last)?.iter().zip(&query).map(|(a, b)| a * b).sum();
        similar.push((cosine, text));
    }
    similar.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (cosine, text) in similar {
        println!("{cosine:6.3}  {text}");
    }
    Ok(())
}
