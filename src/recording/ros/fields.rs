//! Reads the fields of a message one after the other, as ROS 1 or as ROS 2 writes them. No I/O;
//! strings and images stay where they are.

use super::Encoding;

/// A message that is not what its topic says; the text says which part is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a message ends within its {0}")]
pub struct MessageError(pub &'static str);

/// The rest of a message.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    wire: Encoding,
    is_bigendian: bool,
    /// How many bytes were taken, the four in front of CDR apart: it aligns by them.
    at: usize,
}

impl<'a> Fields<'a> {
    /// # Errors
    /// If the message has no begin, or is neither plain CDR nor ROS 1.
    pub fn new(wire: Encoding, bytes: &'a [u8]) -> Result<Self, MessageError> {
        let fields = Self { bytes, wire, is_bigendian: false, at: 0 };
        match (wire, bytes) {
            (Encoding::Ros1, _) => Ok(fields),
            // Representation and options; plain CDR only, which is what ROS 2 writes.
            (Encoding::Cdr, [0, order @ (0 | 1), _, _, rest @ ..]) => {
                Ok(Self { bytes: rest, is_bigendian: *order == 0, ..fields })
            }
            (Encoding::Cdr, _) => Err(MessageError("encapsulation header")),
        }
    }

    pub fn wire(&self) -> Encoding {
        self.wire
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
        if self.wire == Encoding::Cdr {
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

    /// Bytes with their number before them.
    pub fn counted(&mut self, what: &'static str) -> Result<&'a [u8], MessageError> {
        let n = self.u32(what)?;
        self.take(n as usize, what)
    }

    /// CDR's strings end with a zero, which is none of the string's.
    pub fn string(&mut self, what: &'static str) -> Result<&'a str, MessageError> {
        let mut bytes = self.counted(what)?;
        if self.wire == Encoding::Cdr
            && let [text @ .., 0] = bytes
        {
            bytes = text;
        }
        std::str::from_utf8(bytes).map_err(|_| MessageError(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ros_1_is_packed_and_cdr_aligns() {
        let packed = [7, 2, 0, 0, 0, b'h', b'i', 1, 0, 0, 0];
        let mut fields = Fields::new(Encoding::Ros1, &packed).unwrap();
        assert_eq!((fields.u8(""), fields.string(""), fields.u32("")), (Ok(7), Ok("hi"), Ok(1)));
        let little = [0, 1, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0, b'h', b'i', 0, 0, 1, 0, 0, 0];
        let big = [0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 3, b'h', b'i', 0, 0, 0, 0, 0, 1];
        for aligned in [little, big] {
            let mut fields = Fields::new(Encoding::Cdr, &aligned).unwrap();
            assert_eq!(
                (fields.u8(""), fields.string(""), fields.u32("")),
                (Ok(7), Ok("hi"), Ok(1))
            );
            assert!(fields.u8("").is_err());
        }
        assert!(
            Fields::new(Encoding::Cdr, &[0, 3, 0, 0]).is_err(),
            "parameter lists are not plain"
        );
        assert!(Fields::new(Encoding::Cdr, &[0, 1]).is_err());
    }
}
