//! What PostgreSQL alone must do.
