//! Reads exported files, without the code that wrote them.

use std::fs;
use std::path::Path;

fn floats(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
}

pub fn bits(positions_m: &[[f32; 3]]) -> Vec<u32> {
    positions_m.as_flattened().iter().map(|v| v.to_bits()).collect()
}

/// What a file says: the bits of x, y, z of all points, and their colours if it has any.
#[derive(Debug, PartialEq)]
pub struct Read {
    pub positions: Vec<u32>,
    pub colors: Option<Vec<[u8; 3]>>,
}

/// Rows of x, y, z and `color_bytes` more, among which red, green and blue are at `rgb`.
fn read_rows(data: &[u8], n: usize, color_bytes: usize, rgb: Option<[usize; 3]>) -> Read {
    let row = 12 + color_bytes;
    assert_eq!(data.len(), n * row, "the data is as long as the header says");
    let positions = data.chunks_exact(row).flat_map(|row| floats(&row[..12])).collect();
    let colors =
        rgb.map(|rgb| data.chunks_exact(row).map(|row| rgb.map(|i| row[12 + i])).collect());
    Read { positions, colors }
}

/// The header's lines up to and with the one that is `last`, and what follows it.
fn split_header<'a>(bytes: &'a [u8], last: &str) -> (Vec<&'a str>, &'a [u8]) {
    let end = bytes.windows(last.len()).position(|w| w == last.as_bytes()).unwrap() + last.len();
    (std::str::from_utf8(&bytes[..end]).unwrap().lines().collect(), &bytes[end..])
}

pub fn read_ply(bytes: &[u8]) -> Read {
    let (lines, data) = split_header(bytes, "end_header\n");
    assert_eq!(lines[..2], ["ply", "format binary_little_endian 1.0"]);
    let n = lines.iter().find_map(|l| l.strip_prefix("element vertex ")).unwrap().parse().unwrap();
    let properties: Vec<_> = lines.iter().filter_map(|l| l.strip_prefix("property ")).collect();
    assert_eq!(properties[..3], ["float x", "float y", "float z"]);
    match properties[3..] {
        [] => read_rows(data, n, 0, None),
        ["uchar red", "uchar green", "uchar blue"] => read_rows(data, n, 3, Some([0, 1, 2])),
        _ => panic!("{properties:?}"),
    }
}

pub fn read_pcd(bytes: &[u8]) -> Read {
    let (lines, data) = split_header(bytes, "DATA binary\n");
    let field = |name: &str| {
        let line = lines.iter().find(|l| l.split(' ').next() == Some(name)).unwrap();
        line.split(' ').skip(1).collect::<Vec<_>>().join(" ")
    };
    let n: usize = field("POINTS").parse().unwrap();
    let layout = ["VERSION", "WIDTH", "HEIGHT", "VIEWPOINT"].map(field);
    assert_eq!(layout, ["0.7", &n.to_string(), "1", "0 0 0 1 0 0 0"]);
    match ["FIELDS", "SIZE", "TYPE", "COUNT"].map(field).each_ref().map(String::as_str) {
        ["x y z", "4 4 4", "F F F", "1 1 1"] => read_rows(data, n, 0, None),
        ["x y z rgb", "4 4 4 4", "F F F F", "1 1 1 1"] => read_rows(data, n, 4, Some([2, 1, 0])),
        other => panic!("{other:?}"),
    }
}

pub fn read_npy(bytes: &[u8]) -> Read {
    assert_eq!(bytes[..8], *b"\x93NUMPY\x01\x00");
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(end.is_multiple_of(64) && bytes[end - 1] == b'\n', "{end}");
    let header = std::str::from_utf8(&bytes[10..end]).unwrap();
    let (data, n) = (&bytes[end..], (bytes.len() - end) / 12);
    let want = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({n}, 3), }}");
    assert_eq!(header.trim_end(), want);
    read_rows(data, n, 0, None)
}

pub fn read_csv(bytes: &[u8]) -> Read {
    let mut lines = std::str::from_utf8(bytes).unwrap().lines();
    let has_colors = match lines.next().unwrap() {
        "x,y,z" => false,
        "x,y,z,r,g,b" => true,
        other => panic!("{other}"),
    };
    let (mut positions, mut colors) = (vec![], vec![]);
    for line in lines {
        let cells: Vec<_> = line.split(',').collect();
        assert_eq!(cells.len(), if has_colors { 6 } else { 3 });
        positions.extend(cells[..3].iter().map(|cell| cell.parse::<f32>().unwrap().to_bits()));
        if has_colors {
            colors.push([3, 4, 5].map(|i| cells[i].parse().unwrap()));
        }
    }
    Read { positions, colors: has_colors.then_some(colors) }
}

pub fn read_png(path: &Path) -> (u32, u32, Vec<u16>) {
    let decoder = png::Decoder::new(std::io::BufReader::new(fs::File::open(path).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    assert_eq!(reader.output_color_type(), (png::ColorType::Grayscale, png::BitDepth::Sixteen));
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    let depth = bytes.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]])).collect();
    (info.width, info.height, depth)
}
