//! ternlight in JavaScript.
