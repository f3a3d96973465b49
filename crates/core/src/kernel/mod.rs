//! Kernels: packed weights × quantised activations. (Layouts, registry and dispatch.)
