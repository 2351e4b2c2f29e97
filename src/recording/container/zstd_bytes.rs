//! Bytes packed by zstd: whole messages of rosbag2, and images of librealsense.

pub const MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

/// Keeps zstd's own memory from one call to the next.
#[derive(Default)]
pub struct Unpacker(Option<zstd::bulk::Decompressor<'static>>);

impl Unpacker {
    /// Unpacks what the frame says it holds, and no more than `max_bytes`, into `out`.
    pub fn unpack(
        &mut self,
        packed: &[u8],
        max_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let len = match zstd::zstd_safe::get_frame_content_size(packed) {
            Ok(Some(len)) => usize::try_from(len).ok().filter(|&len| len <= max_bytes),
            Ok(None) => {
                return Err("bytes packed by zstd that do not tell how many they are".to_owned());
            }
            Err(_) => return Err("bytes that zstd did not pack".to_owned()),
        };
        let len =
            len.ok_or_else(|| format!("bytes packed by zstd that would be more than {max_bytes}"))?;
        let unpacker = match &mut self.0 {
            Some(unpacker) => unpacker,
            none => none.insert(
                zstd::bulk::Decompressor::new().map_err(|e| format!("zstd cannot begin ({e})"))?,
            ),
        };
        // Not cleared before: only what the buffer grows by is set to zero.
        out.resize(len, 0);
        match unpacker.decompress_to_buffer(packed, out.as_mut_slice()) {
            Ok(n) if n == len => Ok(()),
            Ok(n) => Err(format!("bytes packed by zstd that are {n} and not {len}")),
            Err(e) => Err(format!("damaged bytes that zstd packed ({e})")),
        }
    }
}
