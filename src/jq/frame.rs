//! What a worker and the daemon send each other: frames of bytes, each after its length (four
//! bytes, the lowest first), and answers, whose first byte says what they are.

use std::io::{self, Read, Write};

use super::{error::JqError, limits::MAX_OUTPUT_BYTES};

/// Longest frame: an answer of the greatest size, with the byte that says what it is.
pub(super) const MAX_FRAME_BYTES: usize = MAX_OUTPUT_BYTES + 1;

/// Sends a frame.
pub(super) fn send(to: &mut impl Write, head: &[u8], body: &[u8]) -> io::Result<()> {
    let bytes = head.len() + body.len();
    if bytes > MAX_FRAME_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the frame is too long"));
    }
    to.write_all(&(bytes as u32).to_le_bytes())?;
    to.write_all(head)?;
    to.write_all(body)?;
    to.flush()
}

/// Takes a frame; none if there is no other.
pub(super) fn take(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let bytes = u32::from_le_bytes(length) as usize;
    if bytes > MAX_FRAME_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the frame is too long"));
    }
    let mut frame = Vec::new();
    // Memory is taken as bytes come, not as they are announced.
    if from.take(bytes as u64).read_to_end(&mut frame)? < bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(frame))
}

/// Sends the answer to a document. Errors that no worker can answer with are sent as failures.
pub(super) fn send_answer(to: &mut impl Write, answer: &Result<Vec<u8>, JqError>) -> io::Result<()> {
    match answer {
        Ok(rows) => send(to, b"r", rows),
        Err(JqError::NotJson(why)) => send(to, b"j", why.as_bytes()),
        Err(JqError::Failed(why)) => send(to, b"f", why.as_bytes()),
        Err(JqError::TooManyRows) => send(to, b"n", &[]),
        Err(JqError::TooLarge) => send(to, b"l", &[]),
        Err(other) => send(to, b"f", other.to_string().as_bytes()),
    }
}

/// The answer that a frame holds; none if it holds none.
pub(super) fn answer(mut frame: Vec<u8>) -> Option<Result<Vec<u8>, JqError>> {
    let kind = *frame.first()?;
    frame.drain(..1);
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Some(match kind {
        b'r' => Ok(frame),
        b'j' => Err(JqError::NotJson(text(frame))),
        b'f' => Err(JqError::Failed(text(frame))),
        b'n' => Err(JqError::TooManyRows),
        b'l' => Err(JqError::TooLarge),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_arrive_as_they_were_sent() {
        let all = [
            Ok(b"[1]".to_vec()),
            Ok(vec![b'1'; MAX_OUTPUT_BYTES]),
            Err(JqError::NotJson("a".into())),
            Err(JqError::Failed("b".into())),
            Err(JqError::TooManyRows),
            Err(JqError::TooLarge),
        ];
        let mut sent = Vec::new();
        for one in &all {
            send_answer(&mut sent, one).expect("sent");
        }
        let mut rest = sent.as_slice();
        for one in all {
            assert_eq!(answer(take(&mut rest).expect("a frame").expect("one more")), Some(one));
        }
        assert_eq!(take(&mut rest).expect("the end"), None);
    }

    #[test]
    fn a_frame_that_is_too_long_or_cut_off_is_refused() {
        assert!(send(&mut Vec::new(), &[0; 2], &vec![0; MAX_OUTPUT_BYTES]).is_err());
        assert!(take(&mut &(MAX_FRAME_BYTES as u32 + 1).to_le_bytes()[..]).is_err());
        assert!(take(&mut &[2, 0, 0, 0, 9][..]).is_err());
        assert_eq!((answer(vec![]), answer(vec![b'?'])), (None, None));
    }
}
