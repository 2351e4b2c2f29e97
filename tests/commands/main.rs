//! The program as its users call it.

mod against;
mod cli;
mod doctor;
mod export;
mod keys;
mod outputs;
mod profile;
mod record;
