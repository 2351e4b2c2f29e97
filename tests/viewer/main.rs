//! The Rerun viewer: what it is sent, its faults, the page in a real browser.
#![cfg(feature = "viewer")]

mod faults;
mod showing;
mod web_page;
