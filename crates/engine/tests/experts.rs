//! Numbers of active experts, for a load and for a reply, and drafts with fewer of them.

use std::{path::PathBuf, sync::Arc};

use ternlight_core::{ErrorKind, Result, pool::Serial};
use ternlight_engine::{
    Engine, EngineLoader, EngineOptions, FinishReason, GenerateOptions, Prompt, Session, Speculation, Step,
    Summary,
};

fn load(folder: &str, options: EngineOptions) -> Result<Engine> {
    let place = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(folder);
    let mut loader = EngineLoader::new(options, Some(Arc::new(Serial)));
    for name in ["config.json", "model.safetensors"] {
        let bytes = std::fs::read(place.join(name)).unwrap_or_else(|e| panic!("{folder}/{name}: {e}"));
        loader.begin_file(name, Some(bytes.len() as u64))?;
        loader.push(&bytes)?;
        loader.end_file()?;
    }
    loader.finish()
}

fn with_experts(experts: &[usize]) -> EngineOptions {
    EngineOptions { experts: experts.to_vec(), ..EngineOptions::default() }
}

/// Options of a reply of `max_tokens`, which does not end before.
fn reply(max_tokens: usize) -> GenerateOptions {
    GenerateOptions { max_tokens, ignore_stop_tokens: true, ..GenerateOptions::greedy() }
}

fn generate(session: &mut Session, options: &GenerateOptions) -> Result<(Vec<u32>, Summary)> {
    session.start(&Prompt::Tokens(vec![3, 1, 4, 1, 5]), options)?;
    let mut tokens = Vec::new();
    loop {
        match session.next()? {
            Step::Piece(piece) => tokens.extend(piece.tokens.iter().map(|token| token.id)),
            Step::Done(summary) => return Ok((tokens, summary)),
            Step::Prefill(_) => {}
        }
    }
}

#[test]
fn a_reply_has_its_own_number_of_experts() {
    const FOLDER: &str = "oracle2/moe_bitnet";
    let run = |engine: &Engine, options: &GenerateOptions| {
        generate(&mut engine.session().unwrap(), options).unwrap().0
    };
    let own = load(FOLDER, EngineOptions::default()).unwrap();
    let alone = |experts: &[usize]| run(&load(FOLDER, with_experts(experts)).unwrap(), &reply(12));
    let asked = |experts: &[usize]| GenerateOptions { experts: experts.to_vec(), ..reply(12) };
    // One session for all: what it has cached of the same prompt must not be used for other numbers.
    let mut session = own.session().unwrap();
    let mut texts = Vec::new();
    for experts in [&[1][..], &[2], &[8], &[3, 1, 2]] {
        let (tokens, summary) = generate(&mut session, &asked(experts)).unwrap();
        assert_eq!(tokens, alone(experts), "{experts:?}");
        assert_eq!(summary.cached_tokens, 0, "{experts:?}");
        texts.push(tokens);
    }
    assert!(texts.iter().any(|text| *text != texts[0]), "the number of experts changes nothing");
    // The same numbers again: the prompt is cached.
    let (tokens, summary) = generate(&mut session, &asked(&[3, 1, 2])).unwrap();
    assert_eq!((tokens, summary.cached_tokens), (texts[3].clone(), 4));
    assert_eq!(generate(&mut session, &reply(12)).unwrap().0, run(&own, &reply(12)));
    // Fewer experts, fewer bytes.
    let bytes = |experts: &[usize]| load(FOLDER, with_experts(experts)).unwrap().info().bytes_per_token;
    assert!(bytes(&[1]) < bytes(&[2]) && bytes(&[2]) < bytes(&[8]));
}

#[test]
fn numbers_that_make_no_sense_are_refused_by_name() {
    let refused = |error: ternlight_core::Error, name: &str| {
        assert_eq!(error.kind, ErrorKind::BadOption, "{error}");
        assert!(error.detail.contains(name), "{error}");
    };
    for experts in [&[0][..], &[9], &[1, 2], &[1, 2, 3, 4]] {
        refused(load("oracle2/moe_bitnet", with_experts(experts)).unwrap_err(), "experts");
    }
    refused(load("oracle2/llama_variant", with_experts(&[1])).unwrap_err(), "experts");
    let mixture = load("oracle2/moe_bitnet", EngineOptions::default()).unwrap();
    let dense = load("oracle2/llama_variant", EngineOptions::default()).unwrap();
    for (engine, options, name) in [
        (&mixture, GenerateOptions { experts: vec![9], ..reply(3) }, "experts"),
        (&dense, GenerateOptions { experts: vec![1], ..reply(3) }, "experts"),
        (&dense, GenerateOptions { speculate: 2, ..reply(3) }, "speculate"),
        (&mixture, GenerateOptions { speculate: 65, ..reply(3) }, "speculate"),
        (&mixture, GenerateOptions { speculate: 2, experts: vec![1], ..reply(3) }, "speculate"),
    ] {
        refused(generate(&mut engine.session().unwrap(), &options).unwrap_err(), name);
    }
}

/// Texts with drafts and without are the same, whatever the sampler does, however long the rounds are.
#[test]
fn drafts_change_no_token() {
    let engine = load("oracle2/moe_bitnet", EngineOptions::default()).unwrap();
    let sampled = GenerateOptions { temperature: Some(0.8), seed: Some(7), ..reply(48) };
    for options in [reply(48), sampled] {
        let (want, plain) = generate(&mut engine.session().unwrap(), &options).unwrap();
        assert_eq!((want.len(), plain.speculation), (48, None));
        for speculate in [1, 3, 8, 64] {
            let drafting = GenerateOptions { speculate, ..options.clone() };
            let mut session = engine.session().unwrap();
            let (got, summary) = generate(&mut session, &drafting).unwrap();
            assert_eq!(got, want, "{speculate}");
            let Speculation { drafted, accepted, .. } = summary.speculation.unwrap();
            assert!(drafted > 0 && accepted <= drafted, "{accepted} of {drafted}");
            // What is left in the cache is the reply's, too.
            assert_eq!(generate(&mut session, &options).unwrap().0, want);
        }
    }
}

/// Of two clones of an expert, both are chosen: with renormalised weights one alone says the same, so each draft is right.
#[test]
fn drafts_of_clones_are_accepted() {
    let engine = load("oracle2/growth_width", with_experts(&[2])).unwrap();
    let (want, _) = generate(&mut engine.session().unwrap(), &reply(40)).unwrap();
    let drafting = GenerateOptions { speculate: 4, ..reply(40) };
    let (got, summary) = generate(&mut engine.session().unwrap(), &drafting).unwrap();
    let speculation = summary.speculation.unwrap();
    assert_eq!(got, want);
    assert!(speculation.accepted >= speculation.drafted - 4 && speculation.drafted >= 4, "{speculation:?}");
    assert!(speculation.speedup > 0.0, "{speculation:?}");
}

/// A full context ends a reply at the same token with drafts, which have no room there.
#[test]
fn drafts_stop_at_the_end_of_the_context() {
    let options = EngineOptions { context: Some(21), ..EngineOptions::default() };
    let engine = load("oracle2/moe_bitnet", options).unwrap();
    let (want, _) = generate(&mut engine.session().unwrap(), &reply(100)).unwrap();
    let drafting = GenerateOptions { speculate: 5, ..reply(100) };
    let (got, summary) = generate(&mut engine.session().unwrap(), &drafting).unwrap();
    assert_eq!((got, summary.finish_reason), (want, FinishReason::ContextFull));
}

/// With each token the experts that made it, the same with drafts and after any beginning; without being asked, nothing.
#[test]
fn a_reply_says_which_experts_fired() {
    let engine = load("oracle2/moe_bitnet", EngineOptions::default()).unwrap();
    let run = |options: &GenerateOptions| {
        let mut session = engine.session().unwrap();
        session.start(&Prompt::Tokens(vec![3, 1, 4, 1, 5]), options).unwrap();
        let mut experts = Vec::new();
        loop {
            match session.next().unwrap() {
                Step::Piece(piece) => experts.extend(piece.tokens.into_iter().map(|token| token.experts)),
                Step::Done(_) => return experts,
                Step::Prefill(_) => {}
            }
        }
    };
    let asked = GenerateOptions { report_experts: true, ..reply(24) };
    let info = engine.info().experts.unwrap();
    let want = run(&asked);
    assert!(run(&reply(24)).iter().all(Option::is_none));
    for token in &want {
        let layers = token.as_ref().unwrap();
        let counts: Vec<usize> = layers.iter().map(Vec::len).collect();
        assert_eq!(counts, info.active);
        for (chosen, count) in layers.iter().zip(&info.count) {
            assert!(chosen.iter().all(|&expert| usize::from(expert) < *count), "{chosen:?}");
        }
    }
    assert!(want.iter().any(|token| *token != want[0]), "every token went to the same experts");
    assert_eq!(run(&GenerateOptions { speculate: 5, ..asked.clone() }), want);
    // The experts for smaller numbers are a prefix of those for larger ones; the first token has the same input.
    let one = run(&GenerateOptions { experts: vec![1], ..asked })[0].clone().unwrap();
    assert_eq!(one[0][..], want[0].as_ref().unwrap()[0][..1]);
}

/// What the page draws.
#[test]
fn a_model_says_how_it_is_made() {
    let info = |folder: &str| load(folder, EngineOptions::default()).unwrap().info();
    let sigma = info("oracle2/moe_sigma").experts.unwrap();
    assert_eq!(sigma.active, [4, 2, 1, 1]);
    assert!(!sigma.shared && sigma.count.iter().all(|&count| count == 8));
    assert!(info("oracle2/moe_qwen2_shared").experts.unwrap().shared);
    // Every second layer is dense.
    assert_eq!(info("oracle2/moe_qwen3_nonorm").experts.unwrap().active[..2], [0, 2]);
    let ouro = info("oracle2/ouro").looped.unwrap();
    assert_eq!((ouro.before, ouro.after, ouro.exit), (0, 0, "gate"));
    assert!(ouro.inside > 0 && ouro.most.is_some());
    let routed = info("oracle2/mor_token_choice").looped.unwrap();
    assert_eq!((routed.before, routed.after, routed.exit, routed.most), (1, 1, "router", None));
    let sparse = |folder: &str| -> Vec<(String, f32, Option<usize>)> {
        info(folder).sparse_inputs.into_iter().map(|input| (input.layer, input.kept, input.block)).collect()
    };
    assert_eq!(sparse("oracle2/a48_int4"), [("o".to_owned(), 0.5, None)]);
    assert!(sparse("oracle2/qsparse").iter().all(|(_, kept, block)| (*kept, *block) == (0.625, None)));
    assert_eq!(sparse("oracle2/qsparse").len(), 7);
    assert_eq!(sparse("oracle2/qsparse_block")[0].2, Some(32));
    let plain = info("oracle2/llama_variant");
    assert!(plain.looped.is_none() && plain.experts.is_none() && plain.sparse_inputs.is_empty());
}
