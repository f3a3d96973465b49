//! A conversation on standard input and output, one line per message.
//!
//! ```sh
//! cargo run --release -p ternlight-examples --bin chat -- [MODEL]
//! ```

use std::{
    error::Error,
    io::{BufRead, Write},
};

use ternlight_engine::{ChatOptions, GenerateOptions, Message, Overflow, Prompt, Step};

fn main() -> Result<(), Box<dyn Error>> {
    let engine = ternlight_examples::open(std::env::args().nth(1).as_deref())?;
    // Sampling as the model's authors suggest; the oldest turns are dropped when the context is full.
    let options = GenerateOptions { overflow: Overflow::Slide, ..GenerateOptions::default() };

    // One session for the whole conversation: each turn computes only what is new.
    let mut session = engine.session()?;
    let mut messages = Vec::new();
    for line in std::io::stdin().lock().lines() {
        messages.push(Message::new("user", line?));
        session.start(&Prompt::Chat(messages.clone(), ChatOptions::default()), &options)?;
        let mut reply = String::new();
        loop {
            match session.next()? {
                Step::Piece(piece) => {
                    print!("{}", piece.text);
                    std::io::stdout().flush()?;
                    reply.push_str(&piece.text);
                }
                Step::Done(_) => break,
                _ => {} // A block of the prompt was computed.
            }
        }
        println!();
        messages.push(Message::new("assistant", reply));
    }
    Ok(())
}
