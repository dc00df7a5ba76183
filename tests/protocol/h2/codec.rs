//! As much of HTTP/2's frames and of HPACK as the rows need: no compression, so that each byte is seen.

/// What a client sends first.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const ACK: u8 = 0x1;
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const PRIORITY: u8 = 0x20;

/// Types of frames (RFC 9113, section 6).
pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0;
    pub(in super::super) const HEADERS: u8 = 1;
    pub(in super::super) const PRIORITY: u8 = 2;
    pub(in super::super) const RST_STREAM: u8 = 3;
    pub(in super::super) const SETTINGS: u8 = 4;
    pub(in super::super) const PUSH_PROMISE: u8 = 5;
    pub(in super::super) const PING: u8 = 6;
    pub(in super::super) const GOAWAY: u8 = 7;
    pub(in super::super) const WINDOW_UPDATE: u8 = 8;
    pub(in super::super) const CONTINUATION: u8 = 9;
}

/// One frame of the server's.
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// The first frame of `bytes` and its length, if it is there whole.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let head = bytes.get(..9)?;
        let n = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        let payload = bytes.get(9..9 + n)?.to_vec();
        Some((Self { kind: head[3], flags: head[4], stream, payload }, 9 + n))
    }
}

/// A frame with a head that says how long it is.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    [&frame_head(payload.len(), kind, flags, stream)[..], payload].concat()
}

/// The head of a frame.
pub(super) fn frame_head(length: usize, kind: u8, flags: u8, stream: u32) -> Vec<u8> {
    let length = u32::try_from(length).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat()
}

pub(super) fn settings(flags: u8, values: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = values
        .iter()
        .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    frame(kind::SETTINGS, flags, 0, payload)
}

pub(super) fn ping(flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(kind::PING, flags, 0, payload)
}

/// A field as a literal that is not indexed (RFC 7541, section 6.2.2), without Huffman coding.
pub(super) fn literal(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let (name, value) = (name.as_ref(), value.as_ref());
    [&[0][..], &number(name.len()), name, &number(value.len()), value].concat()
}

/// Fields as literals.
pub(super) fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// A number in seven bits and as many bytes more as it needs (RFC 7541, section 5.1).
fn number(n: usize) -> Vec<u8> {
    if n < 127 {
        return vec![u8::try_from(n).unwrap()];
    }
    let (mut bytes, mut rest) = (vec![127], n - 127);
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 0x80);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

/// The status that a block of fields begins with. Its sender has no dynamic table.
pub(super) fn status(mut block: &[u8]) -> u16 {
    // Says that the table has no size.
    while block[0] & 0xe0 == 0x20 {
        block = &block[1..];
    }
    if block[0] & 0x80 != 0 {
        // The static table (RFC 7541, appendix A).
        return [200, 204, 206, 304, 400, 404, 500][usize::from(block[0] & 0x7f) - 8];
    }
    assert_eq!(block[0] & 0x0f, 8, "a block of fields begins with its status");
    let (is_huffman, length) = (block[1] & 0x80 != 0, usize::from(block[1] & 0x7f));
    let value = &block[2..2 + length];
    let digits = if is_huffman { digits(value) } else { value.to_vec() };
    std::str::from_utf8(&digits).unwrap().parse().expect("a status is a number")
}

/// Three digits out of their Huffman codes (RFC 7541, appendix B): five bits up to 2, six beyond.
fn digits(coded: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> =
        coded.iter().flat_map(|byte| (0..8).map(move |i| byte >> (7 - i) & 1)).collect();
    let value = |bits: &[u8]| bits.iter().fold(0, |value, bit| value * 2 + bit);
    let (mut digits, mut at) = (Vec::new(), 0);
    while digits.len() < 3 {
        let short = value(&bits[at..at + 5]);
        if short <= 2 {
            digits.push(b'0' + short);
            at += 5;
        } else {
            // 3 is 0b011001.
            digits.push(b'3' + value(&bits[at..at + 6]) - 0b01_1001);
            at += 6;
        }
    }
    digits
}

/// The name of an error code (RFC 9113, section 7).
pub(super) fn code_name(code: u32) -> String {
    let names = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    names.get(code as usize).map_or_else(|| code.to_string(), |name| (*name).to_owned())
}
