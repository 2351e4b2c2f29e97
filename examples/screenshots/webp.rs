//! A moving picture of still ones. WebP is a container, and this is all of it that is needed; the images are encoded already.

use std::time::Duration;

/// Goes round and round. Each still picture has this size, and is shown for so long.
///
/// # Panics
/// If one of them is no WebP with losses.
pub fn moving([width, height]: [u32; 2], stills: &[Vec<u8>], each: Duration) -> Vec<u8> {
    const ANIMATED: u8 = 1 << 1;
    const INSTEAD_OF_THE_LAST: u8 = 1 << 1;
    let size = [u24(width - 1), u24(height - 1)].concat();
    let mut body = b"WEBP".to_vec();
    put(&mut body, *b"VP8X", &[&[ANIMATED, 0, 0, 0], &size[..]].concat());
    // A black ground, and no end.
    put(&mut body, *b"ANIM", &[0; 6]);
    for still in stills {
        let mut frame = [&[0; 6], &size[..], &u24(each.as_millis() as u32), &[INSTEAD_OF_THE_LAST]].concat();
        put(&mut frame, *b"VP8 ", image(still));
        put(&mut body, *b"ANMF", &frame);
    }
    let mut file = Vec::new();
    put(&mut file, *b"RIFF", &body);
    file
}

fn u24(number: u32) -> [u8; 3] {
    let [a, b, c, _] = number.to_le_bytes();
    [a, b, c]
}

/// Appends a chunk: name, length, content, and a byte to make it even.
fn put(to: &mut Vec<u8>, name: [u8; 4], content: &[u8]) {
    to.extend(name);
    to.extend((content.len() as u32).to_le_bytes());
    to.extend(content);
    to.resize(to.len().next_multiple_of(2), 0);
}

/// The content of the chunk with the image.
fn image(still: &[u8]) -> &[u8] {
    let mut rest = &still[12..];
    loop {
        let (head, content) = rest.split_first_chunk::<8>().expect("no image in it");
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if head.starts_with(b"VP8 ") {
            return &content[..length];
        }
        rest = &content[length.next_multiple_of(2)..];
    }
}
