//! What the targets share: an allocator that measures, and the claims about an [`Index`].
//!
//! Invariant under test: memory used while reading a header is bounded by a multiple of the bytes present.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use ternlight_core::container::{Index, Meta, Probe, Value, probe, write};

/// Counts live bytes and their peak.
pub struct Measured;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator with the same arguments.
unsafe impl GlobalAlloc for Measured {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(live, Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

/// The most bytes that were live at once during `f`, beyond those before it.
pub fn peak<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let out = f();
    (out, PEAK.load(Relaxed).saturating_sub(before))
}

/// Reads a header and checks all that is claimed about the result.
pub fn check_probe(bytes: &[u8]) -> Option<Index> {
    let (result, used) = peak(|| probe(bytes));
    assert!(used <= 64 * bytes.len() + (64 << 10), "{used} bytes used for {} present", bytes.len());
    let index = match result {
        Ok(Probe::Ready(index)) => index,
        Ok(Probe::Need(n)) => {
            assert!(n > bytes.len() as u64);
            return None;
        }
        Err(error) => {
            assert!(error.detail.len() < 16 << 10, "a detail of {} bytes", error.detail.len());
            return None;
        }
    };
    for end in [bytes.len() / 2, bytes.len().saturating_sub(1), index.data_start as usize / 2] {
        match probe(&bytes[..end.min(bytes.len())]) {
            Ok(Probe::Ready(early)) => {
                assert!(same(&early.meta, &index.meta) && early.tensors == index.tensors)
            }
            Ok(Probe::Need(n)) => assert!(n > end as u64),
            Err(error) => panic!("a prefix of a good header is refused: {error}"),
        }
    }
    let mut end = index.data_start;
    for tensor in &index.tensors {
        assert!(tensor.offset >= end && tensor.bytes > 0 && !tensor.name.is_empty());
        end = tensor.offset + tensor.bytes;
        let cols = tensor.shape.last().copied().unwrap_or(1);
        let elements = tensor.shape.iter().product::<u64>();
        if let Ok(bytes) = tensor.encoding.tensor_bytes(elements / cols, cols) {
            assert_eq!(bytes, tensor.bytes);
        }
    }
    assert_eq!(end, index.file_len);
    Some(index)
}

/// Writes what was read and reads it again, where the writer has the types for it.
pub fn check_rewrite(
    index: &Index,
    header: fn(&Meta, &[write::TensorSpec]) -> ternlight_core::Result<write::Header>,
) {
    let specs = Vec::from_iter(index.tensors.iter().map(|t| write::TensorSpec {
        name: t.name.clone(),
        shape: t.shape.clone(),
        encoding: t.encoding,
    }));
    let Ok(header) = header(&index.meta, &specs) else { return };
    match probe(&header.bytes) {
        Ok(Probe::Ready(again)) => {
            assert!(same(&again.meta, &index.meta), "{:?} became {:?}", index.meta, again.meta);
            assert_eq!(again.tensors, header.tensors);
            for (a, b) in again.tensors.iter().zip(&index.tensors) {
                assert_eq!(
                    (&a.name, &a.shape, a.encoding, a.bytes),
                    (&b.name, &b.shape, b.encoding, b.bytes)
                );
            }
        }
        other => panic!("what was written is not read: {other:?}"),
    }
}

/// Equality that takes NaN as itself.
fn same(a: &Meta, b: &Meta) -> bool {
    a.0.len() == b.0.len()
        && a.0.iter().zip(&b.0).all(|((ka, va), (kb, vb))| {
            ka == kb
                && match (va, vb) {
                    (Value::Float(x), Value::Float(y)) => x == y || (x.is_nan() && y.is_nan()),
                    (Value::Floats(x), Value::Floats(y)) => {
                        x.iter().map(|f| f.to_bits()).eq(y.iter().map(|f| f.to_bits()))
                    }
                    (x, y) => x == y,
                }
        })
}
