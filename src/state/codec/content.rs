//! Where the bytes of a value are written.

use postcard::ser_flavors::Flavor;

/// The longest piece that is written byte by byte.
const PIECE_BYTES: usize = 10;

/// Appends to bytes that are there. Nearly all pieces are numbers of one to three bytes, for which the
/// library's own way onto a vector calls a copy of memory each.
pub(super) struct Content<'b>(pub(super) &'b mut Vec<u8>);

impl Flavor for Content<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if bytes.len() <= PIECE_BYTES {
            bytes.iter().for_each(|byte| self.0.push(*byte));
        } else {
            self.0.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Content;

    proptest! {
        #[test]
        fn what_is_written_is_what_the_library_writes(
            value in any::<(u8, u64, i64, f64, Vec<u32>, String, Option<bool>, Vec<(u16, u128)>)>(),
        ) {
            let mut bytes = vec![7];
            postcard::serialize_with_flavor(&value, Content(&mut bytes)).unwrap();
            prop_assert_eq!(&bytes[1..], postcard::to_allocvec(&value).unwrap());
        }
    }
}
