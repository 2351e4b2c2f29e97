//! Reading recordings: each format, each kind of stream, whole and damaged.

mod bag_damage;
mod cases;
mod color;
mod damage;
mod db3;
mod driver;
mod mcap;
mod metadata;
mod playing;
mod quick_inspect;
mod reading;
mod seeds;
