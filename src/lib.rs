//! Real-time capture from Intel RealSense depth cameras: depth frames in, point clouds and true
//! figures out.
//!
//! ```text
//! source ──[capture queue]──> project ──[cloud queue]──> sink
//!   ^  │  capture thread         ^  one rayon pool          ^  one thread for each
//!   │  └─[recorder queue]──> recording, where one is asked for
//!   └──── empty frames ──────────┘<──── empty clouds ───────┘     buffers come back by themselves
//! ```
//!
//! | room | duty |
//! | --- | --- |
//! | [`cli`] | the command line: one file for each subcommand, exit codes |
//! | [`config`] | presets, the user's file and flags become validated settings |
//! | [`pipeline`] | threads, queues, policies, shutdown |
//! | [`source`] | where frames come from: synthetic camera, librealsense, recordings |
//! | [`project`] | depth image to points; knows no channel, clock, file or viewer |
//! | [`color`] | says where the colour of a point is decided; colours by depth or height |
//! | [`export`] | the frames of a recording as files: clouds or depth images |
//! | [`recording`] | reading recordings: containers, messages, images, streams |
//! | [`record`] | frames as a recording of our own: `.mcap` with ROS 2 messages |
//! | [`sink`] | where clouds go: Rerun viewer or file, or nowhere |
//! | [`doctor`] | whether this computer is ready for a camera and a viewer |
//! | [`mod@bench`] | how fast projection is here, and how fast it could be |
//! | [`report`] | the report of a run: JSON and a table |
//! | [`stats`] | stages, drops, histograms |
//! | [`monitor`] | figures of a running run for other programs: lines of JSON, a page for Prometheus |
//! | [`profile`] | profiling sessions: repetitions, their files, two of them compared |
//! | [`access`] | who may read what is served over HTTP |
//! | [`realtime`] | priorities, cores, locked memory, where they are asked for |
//! | [`frame`], [`camera`], [`clock`], [`pool`], `pairing`, [`words`] | what flows, and what all the others use |
//!
//! Units stand in names (`depth_units_m`, `at_ns`). The camera frame is x right, y down, z forward,
//! in metres as `f32`.

#![warn(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

pub mod access;
pub mod bench;
pub mod camera;
pub mod cli;
pub mod clock;
pub mod color;
pub mod config;
pub mod doctor;
pub mod export;
pub mod frame;
pub mod monitor;
mod pairing;
pub mod pipeline;
pub mod pool;
pub mod profile;
pub mod project;
pub mod realtime;
pub mod record;
pub mod recording;
pub mod report;
pub mod sink;
pub mod source;
pub mod stats;
pub mod words;
