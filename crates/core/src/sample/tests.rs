use super::*;
use alloc::vec;

const LOGITS: [f32; 6] = [1.0, 3.0, 2.0, -1.0, 3.0, f32::NEG_INFINITY];

/// How often each token is drawn.
fn counts(options: SampleOptions, logits: &[f32], history: &[u32], draws: usize) -> Vec<usize> {
    let mut sampler = Sampler::new(options, Isa::SCALAR).unwrap();
    let mut counts = vec![0; logits.len()];
    for _ in 0..draws {
        counts[sampler.sample(&mut logits.to_vec(), history, 0).unwrap().token as usize] += 1;
    }
    counts
}

fn drawn(options: SampleOptions) -> Vec<u32> {
    let counts = counts(options, &LOGITS, &[], 4000);
    (0..).zip(counts).filter(|(_, n)| *n > 0).map(|(id, _)| id).collect()
}

#[test]
fn greedy_takes_the_best_and_of_equals_the_first() {
    let options = SampleOptions { temperature: 0.0, ..Default::default() };
    let mut sampler = Sampler::new(options, Isa::SCALAR).unwrap();
    assert_eq!(sampler.sample(&mut LOGITS.to_vec(), &[], 0).unwrap().token, 1);
}

#[test]
fn draws_follow_the_distribution() {
    let n = 40_000;
    let counts = counts(SampleOptions::default(), &LOGITS, &[], n);
    let total: f64 = LOGITS.iter().map(|&l| libm::exp(f64::from(l))).sum();
    for (id, &count) in counts.iter().enumerate() {
        let p = libm::exp(f64::from(LOGITS[id])) / total;
        let tolerance = 4.0 * libm::sqrt(p * (1.0 - p) / n as f64);
        assert!((count as f64 / n as f64 - p).abs() <= tolerance, "{id}: {count} of {n}, p = {p}");
    }
}

#[test]
fn filters_leave_what_their_definitions_say() {
    let options = SampleOptions::default();
    assert_eq!(drawn(options.clone()), [0, 1, 2, 3, 4]);
    assert_eq!(drawn(SampleOptions { top_k: 3, ..options.clone() }), [1, 2, 4]);
    // p = .0537 .3966 .1459 .0073 .3966 0: two reach .793, three .939, four .993.
    for (top_p, want) in [(0.3, &[1][..]), (0.7, &[1, 4]), (0.8, &[1, 2, 4]), (0.95, &[0, 1, 2, 4])] {
        assert_eq!(drawn(SampleOptions { top_p, ..options.clone() }), want, "top_p {top_p}");
    }
    // exp(−1) = .368, exp(−2) = .135.
    assert_eq!(drawn(SampleOptions { min_p: 0.3, ..options.clone() }), [1, 2, 4]);
    assert_eq!(drawn(SampleOptions { min_p: 0.1, ..options.clone() }), [0, 1, 2, 4]);
    // H = 1.208; −ln p = 2.925 .925 1.925 4.925 .925: the two best are closest, then 2.
    assert_eq!(drawn(SampleOptions { typical_p: 0.7, ..options.clone() }), [1, 4]);
    assert_eq!(drawn(SampleOptions { typical_p: 0.8, ..options.clone() }), [1, 2, 4]);
    assert_eq!(drawn(SampleOptions { banned_tokens: vec![1, 4, 99], ..options.clone() }), [0, 2, 3]);
    assert_eq!(drawn(SampleOptions { logit_bias: vec![(3, f32::INFINITY)], ..options }), [3]);
}

/// The short way through `keep_mass` keeps what sorting everything keeps.
#[test]
fn top_p_equals_the_full_sort() {
    let mut state = 1;
    for n in [1, 2, 17, 1000] {
        for spread in [0.1, 3.0, 40.0] {
            let all: Vec<(u32, f32)> = (0..n)
                .map(|id| {
                    state += 1;
                    (id, (-spread * uniform(5, state)) as f32)
                })
                .collect();
            for mass in [0.01f32, 0.5, 0.9, 0.999] {
                let mut want = all.clone();
                want.sort_unstable_by(descending);
                let goal = sum_exp(Isa::SCALAR, all.iter().map(|c| c.1), 0.0) * f64::from(mass);
                let mut sum = 0.0;
                let keep = want.iter().take_while(|c| {
                    let goes_on = sum < goal;
                    sum += f64::from(math::exp(c.1));
                    goes_on
                });
                let want: Vec<_> = keep.copied().collect();
                let mut got = all.clone();
                keep_mass(Isa::SCALAR, &mut got, mass);
                assert_eq!(got, want, "{n} {spread} {mass}");
            }
        }
    }
}

#[test]
fn penalties_by_hand() {
    let adjusted = |options: SampleOptions, history: &[u32]| {
        let mut logits = vec![2.0, -2.0, 1.0];
        Sampler::new(options, Isa::SCALAR).unwrap().adjust(&mut logits, history);
        logits
    };
    let off = SampleOptions::default();
    let repetition = SampleOptions { repetition_penalty: 2.0, ..off.clone() };
    assert_eq!(adjusted(repetition.clone(), &[0, 1, 1]), [1.0, -4.0, 1.0]);
    assert_eq!(adjusted(SampleOptions { penalty_window: 2, ..repetition }, &[0, 1, 1]), [2.0, -4.0, 1.0]);
    let counted = SampleOptions { frequency_penalty: 0.5, presence_penalty: 0.25, ..off };
    assert_eq!(adjusted(counted, &[0, 1, 1, 7]), [1.25, -3.25, 1.0]);
}

#[test]
fn same_seed_same_tokens_and_these() {
    let run = |seed| {
        let options = SampleOptions { seed, ..Default::default() };
        let mut sampler = Sampler::new(options, Isa::SCALAR).unwrap();
        (0..12).map(|_| sampler.sample(&mut LOGITS.to_vec(), &[], 0).unwrap().token).collect::<Vec<_>>()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn logprobs_are_the_models_own() {
    let options = SampleOptions { temperature: 0.0, banned_tokens: vec![1], ..Default::default() };
    let sampled = Sampler::new(options, Isa::SCALAR).unwrap().sample(&mut LOGITS.to_vec(), &[], 3).unwrap();
    let total: f64 = LOGITS.iter().map(|&l| libm::exp(f64::from(l))).sum();
    let want = |l: f32| f64::from(l) - libm::log(total);
    assert_eq!(sampled.token, 4);
    assert!((f64::from(sampled.logprob) - want(3.0)).abs() < 1e-6);
    assert_eq!(sampled.top.iter().map(|t| t.0).collect::<Vec<_>>(), [1, 4, 2]);
    for (id, logprob) in sampled.top {
        assert!((f64::from(logprob) - want(LOGITS[id as usize])).abs() < 1e-6);
    }
}

/// Once an endless loop: 1 / 1e-40 is infinite, and so was the search for the mass of NaNs.
#[test]
fn tiny_temperatures_take_the_best() {
    let options = SampleOptions { temperature: 1e-40, top_p: 0.9, ..SampleOptions::default() };
    assert_eq!(drawn(options), [1]);
}

/// −∞ + ∞ is no logit.
#[test]
fn infinite_biases_of_impossible_tokens_do_nothing() {
    let options = SampleOptions {
        logit_bias: vec![(0, f32::INFINITY)],
        temperature: 1.0,
        top_p: 0.5,
        ..SampleOptions::default()
    };
    let mut sampler = Sampler::new(options, Isa::SCALAR).unwrap();
    let mut logits = [f32::NEG_INFINITY, 9.0, 0.0];
    assert_eq!(sampler.sample(&mut logits, &[], 0).unwrap().token, 1);
}

#[test]
fn nonsense_is_an_error() {
    use crate::ErrorKind::{BadData, BadOption};
    for options in [
        SampleOptions { temperature: -1.0, ..Default::default() },
        SampleOptions { temperature: f32::NAN, ..Default::default() },
        SampleOptions { top_p: 0.0, ..Default::default() },
        SampleOptions { min_p: 2.0, ..Default::default() },
        SampleOptions { typical_p: 0.0, ..Default::default() },
        SampleOptions { repetition_penalty: 0.0, ..Default::default() },
        SampleOptions { presence_penalty: f32::INFINITY, ..Default::default() },
        SampleOptions { logit_bias: vec![(0, f32::NAN)], ..Default::default() },
    ] {
        assert_eq!(Sampler::new(options, Isa::SCALAR).unwrap_err().kind, BadOption);
    }
    let mut sampler = Sampler::new(SampleOptions::default(), Isa::SCALAR).unwrap();
    assert_eq!(sampler.sample(&mut [f32::NAN; 3], &[], 0).unwrap_err().kind, BadData);
    assert_eq!(sampler.sample(&mut [f32::INFINITY; 3], &[], 0).unwrap_err().kind, BadData);
    let options = SampleOptions { banned_tokens: vec![0, 1], ..Default::default() };
    assert_eq!(
        Sampler::new(options, Isa::SCALAR).unwrap().sample(&mut [1.0, 2.0], &[], 0).unwrap_err().kind,
        BadOption
    );
}
