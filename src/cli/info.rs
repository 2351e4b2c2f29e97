//! `depthcast info FILE`.

use super::{Done, InfoArgs, print};
use crate::source::recording;

pub(super) fn info(args: &InfoArgs) -> anyhow::Result<Done> {
    let info = recording::inspect(&args.file)?;
    let text = if args.json { serde_json::to_string_pretty(&info)? + "\n" } else { info.table() };
    print(&text)?;
    Ok(if info.damage.is_none() { Done::Whole } else { Done::Damaged })
}
