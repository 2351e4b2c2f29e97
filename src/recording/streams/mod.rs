//! What topics and messages say of a recording's streams.
//!
//! | file | decides |
//! | --- | --- |
//! | `catalogue` | all that is known of a recording without its images |
//! | `librealsense` | what librealsense's topics hold, by their names |
//! | `driver` | what drivers' topics hold, under any names |
//! | `lens` | which intrinsics a stream has |
//! | `units` | metres per depth step |
//! | `frame_tree` | extrinsics from `tf` and `tf_static` |
//! | `selection` | which depth and colour streams are delivered |

pub mod catalogue;
pub mod driver;
pub mod frame_tree;
pub mod lens;
pub mod librealsense;
pub mod selection;
pub mod units;
