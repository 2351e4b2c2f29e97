//! ROS 2's encoding of messages: CDR, little endian (XCDR version 1), into a buffer that is used
//! again and again.
//!
//! Numbers stand at multiples of their size, counted from behind the four bytes that name the
//! encoding.

/// The four bytes: plain CDR, little endian, no options.
const ENCAPSULATION: [u8; 4] = [0, 1, 0, 0];

/// Writes the fields of one message one after the other.
pub struct Cdr<'a> {
    bytes: &'a mut Vec<u8>,
}

impl<'a> Cdr<'a> {
    /// Begins a message; what `bytes` held is gone.
    pub fn new(bytes: &'a mut Vec<u8>) -> Self {
        bytes.clear();
        bytes.extend_from_slice(&ENCAPSULATION);
        Self { bytes }
    }

    fn align(&mut self, to: usize) {
        let body_bytes = self.bytes.len() - ENCAPSULATION.len();
        self.bytes.resize(ENCAPSULATION.len() + body_bytes.next_multiple_of(to), 0);
    }

    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub fn u32(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub fn i32(&mut self, value: i32) {
        self.align(4);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub fn f64(&mut self, value: f64) {
        self.align(8);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub fn f64s(&mut self, values: &[f64]) {
        values.iter().for_each(|&value| self.f64(value));
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
    fn fields_stand_where_the_standard_puts_them() {
        let mut bytes = vec![9; 100];
        let mut cdr = Cdr::new(&mut bytes);
        cdr.u8(1);
        cdr.u32(2);
        cdr.string("ab");
        cdr.f64(1.0);
        cdr.u16s_as_bytes(&[0x0102, 0xfffe]);
        cdr.i32(-1);
        #[rustfmt::skip]
        let want = [
            0, 1, 0, 0,
            1, 0, 0, 0, 2, 0, 0, 0,
            3, 0, 0, 0, b'a', b'b', 0, 0,
            0, 0, 0, 0, 0, 0, 0xf0, 0x3f,
            4, 0, 0, 0, 2, 1, 0xfe, 0xff,
            0xff, 0xff, 0xff, 0xff,
        ];
        assert_eq!(bytes, want);
    }

    #[test]
    fn eight_bytes_are_aligned_behind_the_encapsulation() {
        let mut bytes = vec![];
        let mut cdr = Cdr::new(&mut bytes);
        cdr.u32(7);
        cdr.f64(0.0);
        assert_eq!(bytes.len(), 4 + 16);
    }
}
