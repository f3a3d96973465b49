//! Instruction set levels: which one runs is decided once, and carried as an [`Isa`].
//!
//! Invariant: an [`Isa`] exists only for a level that this CPU can run, so code that holds one may use the
//! level's instructions without asking the CPU again.

/// A level. Its kernels are in `kernel/<arch>/<level>.rs`, with the static that describes it.
pub struct Level {
    /// What users call it.
    pub(crate) name: &'static str,
    /// Asks the CPU.
    pub(crate) supported: fn() -> bool,
    /// What everything but the kernels is compiled for. `supported` implies that the CPU has it.
    pub(crate) vectors: Vectors,
}

/// The vector instructions of code outside the kernels: attention, norms, activation codes, sampling, packing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vectors {
    /// What the compiler makes of portable code for any CPU of the target.
    Portable,
    /// Portable code compiled for AVX2; pairs by `vpmaddwd`.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Portable code compiled for AVX2; pairs by `vpdpwssd` on 64-byte vectors.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// Pairs by `i32x4.dot_i16x8_s`.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128,
}

/// The specification: portable code, on any CPU.
pub(crate) static SCALAR: Level = Level { name: "scalar", supported: || true, vectors: Vectors::Portable };

/// A level that this CPU can run.
#[derive(Clone, Copy)]
pub struct Isa(&'static Level);

impl Isa {
    /// The portable reference.
    pub const SCALAR: Self = Self(&SCALAR);

    /// `level`, if this CPU can run it.
    pub(crate) fn detect(level: &'static Level) -> Option<Self> {
        (level.supported)().then_some(Self(level))
    }

    /// `level`, which was found to be [supported](Self::detect) before.
    pub(crate) const fn detected(level: &'static Level) -> Self {
        Self(level)
    }

    /// What users call it: `scalar`, `avx2`, …
    pub fn name(self) -> &'static str {
        self.0.name
    }

    pub(crate) fn vectors(self) -> Vectors {
        self.0.vectors
    }
}

impl PartialEq for Isa {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Isa {}

impl core::fmt::Debug for Isa {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

impl core::fmt::Debug for Level {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name)
    }
}
