use super::{codes::WIDE, *};
use crate::math::round;
use alloc::vec;

#[test]
fn rounds_ties_to_even() {
    for (x, want) in [
        (0.5, 0),
        (1.5, 2),
        (2.5, 2),
        (-0.5, 0),
        (-1.5, -2),
        (63.5, 64),
        (0.49999997, 0),
        (-126.5, -126),
        (8190.5, 8190),
    ] {
        assert_eq!(round(x), want, "{x}");
        assert_eq!(round(x), libm::rintf(x) as i32);
    }
}

#[test]
fn padding_is_zero_after_a_wider_row() {
    let mut rows = Activations::new(Isa::SCALAR);
    for cols in [130, 33, 65, 1] {
        rows.set(2, cols).fill(3.0);
        for input in [ActFormat::Token8, ActFormat::Block32, ActFormat::Token14, ActFormat::F32] {
            rows.prepare(input).unwrap();
        }
        assert_eq!(rows.stride() % ALIGN, 0);
        for t in 0..2 {
            assert_eq!(rows.token8().sum(t), 127 * cols as i32);
            assert!(rows.token8().codes(t)[cols..].iter().all(|&c| c == 0));
            assert!(rows.block32().high(t)[cols..].iter().all(|&c| c == 0));
            assert!(rows.block32().low(t)[cols..].iter().all(|&c| c == 0));
            assert_eq!(rows.block32().sums16(t).iter().sum::<f32>(), 8191.0 * cols as f32);
            assert_eq!(rows.block32().sums32(t).iter().sum::<f32>(), 8191.0 * cols as f32);
            assert!(rows.block32().scales(t)[cols.div_ceil(32)..].iter().all(|&s| s == 0.0));
            assert!(rows.token14().high(t)[cols..].iter().all(|&c| c == 64));
            assert!(rows.token14().low(t)[cols..].iter().all(|&c| c == 0));
            assert!(rows.floats(t)[cols..].iter().all(|&x| x == 0.0));
        }
    }
}

#[test]
fn fourteen_bits_are_what_they_say() {
    let x = vec![1.0, -1.0, 0.0, 0.25, -0.7];
    let mut rows = Activations::new(Isa::SCALAR);
    rows.set(1, 5).copy_from_slice(&x);
    rows.prepare(ActFormat::Token14).unwrap();
    let t = rows.token14();
    for (k, x) in x.iter().enumerate() {
        let u = i32::from(t.high(0)[k]) * 128 + i32::from(t.low(0)[k]);
        assert_eq!(u - 8192, libm::rintf(x * 8191.0) as i32);
    }
}

#[test]
fn blocks_have_fourteen_bits() {
    let x = Vec::from_iter((0..40).map(|i| (i as f32 - 17.3) * 0.37));
    let mut rows = Activations::new(Isa::SCALAR);
    rows.set(1, 40).copy_from_slice(&x);
    rows.prepare(ActFormat::Block32).unwrap();
    let blocks = rows.block32();
    for (k, x) in x.iter().enumerate() {
        let q = i32::from(blocks.high(0)[k]) * 128 + i32::from(blocks.low(0)[k]);
        assert!((0..=127).contains(&blocks.low(0)[k]));
        assert!((q as f32 * blocks.scales(0)[k / 32] - x).abs() <= 0.51 * blocks.scales(0)[k / 32]);
        assert!(!WIDE || i32::from(blocks.wide(0)[k]) == q);
    }
}

#[test]
fn fine_blocks_have_every_code_of_sixteen_bits() {
    let mut rows = Activations::new(Isa::SCALAR);
    for first in (-32512_i32..=32512).step_by(31) {
        let codes = Vec::from_iter((first..(first + 31).min(32513)).chain([-32512]));
        let x = Vec::from_iter(codes.iter().map(|&q| q as f32));
        rows.set(1, x.len()).copy_from_slice(&x);
        rows.prepare(ActFormat::Fine32).unwrap();
        let blocks = rows.fine32();
        assert_eq!(blocks.scales(0)[0], 1.0);
        for (k, &q) in codes.iter().enumerate() {
            let (high, low) = (i32::from(blocks.high(0)[k]), i32::from(blocks.low(0)[k]));
            assert!(high > -128 && low > -128);
            assert_eq!(high * Block32::FINE_BASE + low, q);
            assert!(!WIDE || i32::from(blocks.wide(0)[k]) == q);
        }
        assert_eq!(blocks.sums32(0)[0], codes.iter().sum::<i32>() as f32);
    }
}

#[test]
fn a_nan_reaches_the_scale() {
    let mut rows = Activations::new(Isa::SCALAR);
    rows.set(1, 3).copy_from_slice(&[1.0, f32::NAN, 2.0]);
    for input in [ActFormat::Token8, ActFormat::Block32, ActFormat::Fine32, ActFormat::Token14] {
        rows.prepare(input).unwrap();
    }
    assert!(rows.token8().scale(0).is_nan());
    assert!(rows.block32().scales(0)[0].is_nan());
    assert!(rows.fine32().scales(0)[0].is_nan());
    assert!(rows.token14().scale(0).is_nan());
}
