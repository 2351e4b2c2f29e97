//! In place of the viewer, where the program is built without one.

use std::sync::Arc;

use super::flags::{RunArgs, View};
use super::run::Shown;
use crate::access::Access;
use crate::clock::Clock;
use crate::config::{Settings, UsageError};
use crate::pipeline::{Sinks, Stop};

pub(super) fn open(
    args: &RunArgs,
    _: &Settings,
    sources: &[Shown<'_>],
    _: &Access,
    _: &Arc<dyn Clock>,
) -> anyhow::Result<(Vec<Sinks>, Stays)> {
    match (&args.view.view, &args.output.save, args.view.wants_web()?) {
        (View::Auto | View::None, None, false) => {
            Ok((sources.iter().map(|_| Vec::new().into()).collect(), Stays))
        }
        _ => Err(UsageError(
            "this depthcast was built without a viewer: use --view none, and no --save".into(),
        )
        .into()),
    }
}

/// What outlives a run's sinks: nothing.
pub(super) struct Stays;

impl Stays {
    pub(super) fn linger(self, _: &Stop) {}
}
