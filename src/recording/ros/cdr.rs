//! The fields of a message one after the other: read as ROS 1 or ROS 2 writes them, and written as
//! ROS 2's CDR, little endian (XCDR version 1). No I/O.
//!
//! CDR puts each number at a multiple of its size, counted from after the four bytes that name the
//! encoding.

use super::Encoding;

/// A message that is not what its topic says; the text says which part is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a message ends within its {0}")]
pub struct MessageError(pub &'static str);

/// The rest of a message. Strings and images are borrowed from it.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    encoding: Encoding,
    is_bigendian: bool,
    /// How many bytes were taken, without the four in front of CDR.
    at: usize,
}

impl<'a> Fields<'a> {
    /// # Errors
    /// If the message has no start, or is neither plain CDR nor ROS 1.
    pub fn new(encoding: Encoding, bytes: &'a [u8]) -> Result<Self, MessageError> {
        let fields = Self { bytes, encoding, is_bigendian: false, at: 0 };
        match (encoding, bytes) {
            (Encoding::Ros1, _) => Ok(fields),
            // Representation and options; plain CDR only, which is what ROS 2 writes.
            (Encoding::Cdr, [0, order @ (0 | 1), _, _, rest @ ..]) => {
                Ok(Self { bytes: rest, is_bigendian: *order == 0, ..fields })
            }
            (Encoding::Cdr, _) => Err(MessageError("encapsulation header")),
        }
    }

    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.bytes.len()
    }

    fn take(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], MessageError> {
        let (taken, rest) = self.bytes.split_at_checked(n).ok_or(MessageError(what))?;
        self.bytes = rest;
        self.at += n;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], MessageError> {
        if self.encoding == Encoding::Cdr {
            self.take((N - self.at % N) % N, what)?;
        }
        let mut bytes: [u8; N] = self.take(N, what)?.try_into().map_err(|_| MessageError(what))?;
        if self.is_bigendian {
            bytes.reverse();
        }
        Ok(bytes)
    }

    pub fn u8(&mut self, what: &'static str) -> Result<u8, MessageError> {
        self.array(what).map(|[b]: [u8; 1]| b)
    }

    pub fn u32(&mut self, what: &'static str) -> Result<u32, MessageError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub fn i32(&mut self, what: &'static str) -> Result<i32, MessageError> {
        self.array(what).map(i32::from_le_bytes)
    }

    pub fn f32(&mut self, what: &'static str) -> Result<f32, MessageError> {
        self.array(what).map(f32::from_le_bytes)
    }

    pub fn f64(&mut self, what: &'static str) -> Result<f64, MessageError> {
        self.array(what).map(f64::from_le_bytes)
    }

    pub fn f64s<const N: usize>(&mut self, what: &'static str) -> Result<[f64; N], MessageError> {
        let mut values = [0.0; N];
        for value in &mut values {
            *value = self.f64(what)?;
        }
        Ok(values)
    }

    /// A sequence of bytes, with its length in front.
    pub fn counted(&mut self, what: &'static str) -> Result<&'a [u8], MessageError> {
        let n = self.u32(what)?;
        self.take(n as usize, what)
    }

    /// CDR's strings have a zero after their last character. Text that is not UTF-8 ends where it
    /// is not: names in another encoding must not cost the image.
    pub fn string(&mut self, what: &'static str) -> Result<&'a str, MessageError> {
        let mut bytes = self.counted(what)?;
        if self.encoding == Encoding::Cdr
            && let [text @ .., 0] = bytes
        {
            bytes = text;
        }
        Ok(bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid()))
    }
}

/// Plain CDR, little endian, no options.
const ENCAPSULATION: [u8; 4] = [0, 1, 0, 0];

/// Writes the fields of one message one after the other, into a buffer that is used again.
pub struct CdrWriter<'a> {
    bytes: &'a mut Vec<u8>,
}

impl<'a> CdrWriter<'a> {
    /// Starts a message in place of what is in `bytes`.
    pub fn new(bytes: &'a mut Vec<u8>) -> Self {
        bytes.clear();
        bytes.extend_from_slice(&ENCAPSULATION);
        Self { bytes }
    }

    fn number<const N: usize>(&mut self, bytes: [u8; N]) {
        let body_bytes = self.bytes.len() - ENCAPSULATION.len();
        self.bytes.resize(ENCAPSULATION.len() + body_bytes.next_multiple_of(N), 0);
        self.bytes.extend_from_slice(&bytes);
    }

    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub fn u32(&mut self, value: u32) {
        self.number(value.to_le_bytes());
    }

    pub fn i32(&mut self, value: i32) {
        self.number(value.to_le_bytes());
    }

    pub fn f64s(&mut self, values: &[f64]) {
        values.iter().for_each(|value| self.number(value.to_le_bytes()));
    }

    /// The length of what follows: a sequence, or a string with its final zero.
    pub fn len(&mut self, len: usize) {
        self.u32(u32::try_from(len).unwrap_or(u32::MAX));
    }

    pub fn string(&mut self, text: &str) {
        self.len(text.len() + 1);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    /// A sequence of bytes.
    pub fn bytes(&mut self, values: &[u8]) {
        self.len(values.len());
        self.bytes.extend_from_slice(values);
    }

    /// A sequence of bytes: the values in little endian.
    pub fn u16s_as_bytes(&mut self, values: &[u16]) {
        self.len(2 * values.len());
        let start = self.bytes.len();
        self.bytes.resize(start + 2 * values.len(), 0);
        for (to, value) in self.bytes[start..].chunks_exact_mut(2).zip(values) {
            to.copy_from_slice(&value.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ros_1_has_no_padding_and_cdr_aligns() {
        let ros_1: &[u8] = &[7, 2, 0, 0, 0, b'h', b'i', 1, 0, 0, 0];
        let little = &[0, 1, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0, b'h', b'i', 0, 0, 1, 0, 0, 0];
        let big = &[0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 3, b'h', b'i', 0, 0, 0, 0, 0, 1];
        for (encoding, bytes) in
            [(Encoding::Ros1, ros_1), (Encoding::Cdr, little), (Encoding::Cdr, big)]
        {
            let mut fields = Fields::new(encoding, bytes).unwrap();
            let read = (fields.u8(""), fields.string(""), fields.u32(""));
            assert_eq!(read, (Ok(7), Ok("hi"), Ok(1)));
            assert!(fields.u8("").is_err());
        }
        for not_plain in [&[0, 3, 0, 0][..], &[0, 1]] {
            assert!(Fields::new(Encoding::Cdr, not_plain).is_err());
        }
    }

    #[test]
    fn written_fields_are_where_the_standard_puts_them() {
        let mut bytes = vec![9; 100];
        let mut cdr = CdrWriter::new(&mut bytes);
        cdr.u8(1);
        cdr.u32(2);
        cdr.string("ab");
        cdr.f64s(&[1.0]);
        cdr.u16s_as_bytes(&[0x0102, 0xfffe]);
        cdr.i32(-1);
        // Aligned after the encapsulation, not from the start of the message.
        cdr.f64s(&[0.0]);
        let want = [
            &[0, 1, 0, 0][..],
            &[1, 0, 0, 0, 2, 0, 0, 0],
            &[3, 0, 0, 0, b'a', b'b', 0, 0],
            &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f],
            &[4, 0, 0, 0, 2, 1, 0xfe, 0xff],
            &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
            &[0; 8],
        ];
        assert_eq!(bytes, want.concat());
    }
}
