use super::PickleError;

/// The bytes of a pickle and a position in them.
pub(super) struct Bytes<'a> {
    all: &'a [u8],
    pub position: usize,
}

impl<'a> Bytes<'a> {
    pub fn new(all: &'a [u8]) -> Self {
        Self { all, position: 0 }
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], PickleError> {
        let end = self.position.checked_add(count).filter(|&end| end <= self.all.len());
        let end = end.ok_or(PickleError::Truncated { position: self.all.len() })?;
        let taken = &self.all[self.position..end];
        self.position = end;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub fn byte(&mut self) -> Result<u8, PickleError> {
        Ok(self.array::<1>()?[0])
    }

    /// As many bytes as the length says that stands before them, in 1, 4 or 8 bytes.
    pub fn counted(&mut self, width: usize) -> Result<&'a [u8], PickleError> {
        let mut length = [0; 8];
        length[..width].copy_from_slice(self.take(width)?);
        // A length beyond the address space is beyond the file as well.
        self.take(usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX))
    }

    /// [`Bytes::counted`] as text.
    pub fn counted_text(&mut self, width: usize) -> Result<&'a str, PickleError> {
        let position = self.position;
        let bytes = self.counted(width)?;
        // Python writes lone surrogates in a way that UTF-8 forbids; they have no place in a name.
        std::str::from_utf8(bytes).map_err(|_| PickleError::Literal { position, what: "UTF-8 text" })
    }

    /// The rest of the line, without its end.
    pub fn line(&mut self) -> Result<&'a [u8], PickleError> {
        let rest = &self.all[self.position..];
        let length = rest.iter().position(|&byte| byte == b'\n');
        let length = length.ok_or(PickleError::Truncated { position: self.all.len() })?;
        self.position += length + 1;
        Ok(&rest[..length])
    }

    /// The rest of the line as text.
    pub fn text_line(&mut self, what: &'static str) -> Result<&'a str, PickleError> {
        let position = self.position;
        std::str::from_utf8(self.line()?).map_err(|_| PickleError::Literal { position, what })
    }
}

/// A little-endian two's complement integer of any length, as Python writes long integers.
pub(super) fn long(bytes: &[u8], position: usize) -> Result<i64, PickleError> {
    if bytes.len() > 8 {
        return Err(PickleError::BigInteger { position, bytes: bytes.len() });
    }
    let negative = bytes.last().is_some_and(|&byte| byte & 0x80 != 0);
    let mut whole = [if negative { 0xff } else { 0 }; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    Ok(i64::from_le_bytes(whole))
}

/// The value of a Python 2 string literal, quotes included.
pub(super) fn string_literal(line: &[u8]) -> Option<Vec<u8>> {
    let (&quote, rest) = line.split_first()?;
    let (&last, inner) = rest.split_last()?;
    if !matches!(quote, b'\'' | b'"') || last != quote {
        return None;
    }
    let mut value = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        value.push(match byte {
            b'\\' => match bytes.next()? {
                b'n' => b'\n',
                b't' => b'\t',
                b'r' => b'\r',
                b'x' => u8::try_from(hexadecimal(&mut bytes, 2)?).ok()?,
                same @ (b'\\' | b'\'' | b'"') => same,
                _ => return None,
            },
            byte => byte,
        });
    }
    Some(value)
}

/// The value of a line in Python's raw-unicode-escape: Latin-1 and `\uXXXX`, `\UXXXXXXXX`.
pub(super) fn raw_unicode(line: &[u8]) -> Option<String> {
    let mut value = String::with_capacity(line.len());
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            value.push(char::from(byte));
            continue;
        }
        let mut ahead = bytes.clone();
        let digits = match ahead.next() {
            Some(b'u') => 4,
            Some(b'U') => 8,
            _ => {
                value.push('\\');
                continue;
            }
        };
        value.push(char::from_u32(hexadecimal(&mut ahead, digits)?)?);
        bytes = ahead;
    }
    Some(value)
}

fn hexadecimal(bytes: &mut impl Iterator<Item = u8>, digits: usize) -> Option<u32> {
    (0..digits)
        .try_fold(0u32, |value, _| Some(value.checked_mul(16)? + char::from(bytes.next()?).to_digit(16)?))
}
