//! The verifier from outside: what it accepts, what it refuses, and what it learns over HTTP.

mod attacks;
mod issuer;

mod verdicts;
