//! Whether the ports of the web viewer are free.

use std::net::{Ipv4Addr, TcpListener};

use super::{Finding, Status, System};

pub(super) fn check(system: &System) -> Vec<Finding> {
    const CHECK: &str = "ports";
    let finding = |&port| match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Finding::ok(CHECK, format!("{port} is free")),
        Err(error) => Finding::new(
            CHECK,
            Status::Note,
            format!("{port} is not free ({error}): perhaps a viewer runs already"),
            "close what uses it, choose others with --web-port and --data-port, or show clouds there: --view connect=URL",
        ),
    };
    system.ports.iter().map(finding).collect()
}
