//! The server's side of RFB (versions 3.3, 3.7 and 3.8, without authentication): a picture that any VNC viewer can show.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const WIDTH: u16 = 640;
const HEIGHT: u16 = 400;
const VERSION: &[u8; 12] = b"RFB 003.008\n";
/// The security type without authentication: XAPI has asked already.
const NO_AUTHENTICATION: u8 = 1;

pub(super) async fn serve(conn: &mut (impl AsyncRead + AsyncWrite + Unpin), name: &str) -> io::Result<()> {
    greet(conn, name).await?;
    let (mut screen, mut format) = (Screen::default(), PixelFormat::RGB_32);
    // A viewer asks for what changes next; the answer waits until something has.
    let (mut wanted, mut is_stale) = (None, false);
    loop {
        conn.flush().await?;
        match conn.read_u8().await {
            Ok(0) => format = PixelFormat::read(conn).await?,
            Ok(2) => {
                conn.read_u8().await?;
                let encodings = conn.read_u16().await?;
                skip(conn, u64::from(encodings) * 4).await?;
            }
            Ok(3) => {
                let is_incremental = conn.read_u8().await? != 0;
                let area = Area::read(conn).await?;
                if is_incremental && !is_stale {
                    wanted = Some(area);
                } else {
                    screen.send(conn, area, format).await?;
                    (wanted, is_stale) = (None, false);
                }
            }
            Ok(4) => {
                screen.keys += u32::from(conn.read_u8().await? != 0);
                skip(conn, 6).await?;
                is_stale = true;
            }
            Ok(5) => {
                conn.read_u8().await?;
                screen.pointer = (conn.read_u16().await?, conn.read_u16().await?);
                is_stale = true;
            }
            Ok(6) => {
                skip(conn, 3).await?;
                let len = conn.read_u32().await?;
                skip(conn, len.into()).await?;
            }
            Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        if is_stale && let Some(area) = wanted.take() {
            screen.send(conn, area, format).await?;
            is_stale = false;
        }
    }
}

/// Agrees on a version, and says how large the screen is.
async fn greet(conn: &mut (impl AsyncRead + AsyncWrite + Unpin), name: &str) -> io::Result<()> {
    conn.write_all(VERSION).await?;
    conn.flush().await?;
    let mut version = [0; VERSION.len()];
    conn.read_exact(&mut version).await?;
    match &version[..11] {
        b"RFB 003.003" => conn.write_u32(NO_AUTHENTICATION.into()).await?,
        b"RFB 003.007" | b"RFB 003.008" => {
            conn.write_all(&[1, NO_AUTHENTICATION]).await?;
            conn.flush().await?;
            if conn.read_u8().await? != NO_AUTHENTICATION {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if version[10] == b'8' {
                conn.write_u32(0).await?;
            }
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    }
    conn.flush().await?;
    // Whether others may watch: all may.
    conn.read_u8().await?;
    conn.write_u16(WIDTH).await?;
    conn.write_u16(HEIGHT).await?;
    conn.write_all(&PixelFormat::RGB_32.bytes()).await?;
    conn.write_u32(u32::try_from(name.len()).unwrap_or(0)).await?;
    conn.write_all(name.as_bytes()).await
}

async fn skip(conn: &mut (impl AsyncRead + Unpin), len: u64) -> io::Result<()> {
    let skipped = tokio::io::copy(&mut conn.take(len), &mut tokio::io::sink()).await?;
    if skipped == len { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// A part of the screen.
#[derive(Clone, Copy)]
struct Area {
    x: u16,
    y: u16,
    width: u16,
    height: u16,
}

impl Area {
    /// Reads it, and cuts it down to the screen.
    async fn read(conn: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let (x, y) = (conn.read_u16().await?.min(WIDTH), conn.read_u16().await?.min(HEIGHT));
        let (width, height) = (conn.read_u16().await?, conn.read_u16().await?);
        Ok(Self { x, y, width: width.min(WIDTH - x), height: height.min(HEIGHT - y) })
    }
}

/// Bars that move on with each key, and a square where the pointer is.
#[derive(Default)]
struct Screen {
    keys: u32,
    pointer: (u16, u16),
}

impl Screen {
    /// Red, green and blue of a point.
    fn colour(&self, x: u16, y: u16) -> [u8; 3] {
        if x.abs_diff(self.pointer.0) < 4 && y.abs_diff(self.pointer.1) < 4 {
            return [255; 3];
        }
        let bar = (u32::from(x) / 80 + self.keys) % 8;
        [1, 2, 4].map(|bit| if bar & bit == 0 { 32 } else { 192 })
    }

    /// One update with one rectangle, not encoded.
    async fn send(
        &self,
        conn: &mut (impl AsyncWrite + Unpin),
        area: Area,
        format: PixelFormat,
    ) -> io::Result<()> {
        conn.write_all(&[0, 0, 0, 1]).await?;
        for number in [area.x, area.y, area.width, area.height] {
            conn.write_u16(number).await?;
        }
        conn.write_u32(0).await?;
        let mut row = Vec::with_capacity(usize::from(area.width) * 4);
        for y in area.y..area.y + area.height {
            row.clear();
            for x in area.x..area.x + area.width {
                format.put(self.colour(x, y), &mut row);
            }
            conn.write_all(&row).await?;
        }
        Ok(())
    }
}

/// How a viewer wants its colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PixelFormat {
    bytes: usize,
    depth: u8,
    is_big_endian: bool,
    /// The largest value of red, green and blue.
    max: [u16; 3],
    shift: [u8; 3],
}

impl PixelFormat {
    const RGB_32: Self = Self { bytes: 4, depth: 24, is_big_endian: false, max: [255; 3], shift: [16, 8, 0] };

    /// Reads the viewer's choice. Palettes are not offered.
    async fn read(conn: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let mut message = [0; 19];
        conn.read_exact(&mut message).await?;
        let [_, _, _, bits, depth, big_endian, true_colour, rest @ ..] = message;
        let max = [0, 2, 4].map(|at| u16::from_be_bytes([rest[at], rest[at + 1]]));
        let shift = [rest[6], rest[7], rest[8]];
        let possible = true_colour != 0 && matches!(bits, 8 | 16 | 32) && shift.iter().all(|s| *s < bits);
        if !possible {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self { bytes: usize::from(bits / 8), depth, is_big_endian: big_endian != 0, max, shift })
    }

    fn bytes(self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..4].copy_from_slice(&[self.bytes as u8 * 8, self.depth, self.is_big_endian.into(), 1]);
        for (i, max) in self.max.iter().enumerate() {
            out[4 + 2 * i..6 + 2 * i].copy_from_slice(&max.to_be_bytes());
        }
        out[10..13].copy_from_slice(&self.shift);
        out
    }

    fn put(self, colour: [u8; 3], out: &mut Vec<u8>) {
        let parts = colour.into_iter().zip(self.max).zip(self.shift);
        let pixel = parts
            .fold(0, |pixel, ((part, max), shift)| pixel | (u32::from(part) * u32::from(max) / 255) << shift);
        if self.is_big_endian {
            out.extend_from_slice(&pixel.to_be_bytes()[4 - self.bytes..]);
        } else {
            out.extend_from_slice(&pixel.to_le_bytes()[..self.bytes]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_come_as_the_viewer_wants_them() {
        let rgb565 =
            PixelFormat { bytes: 2, depth: 16, is_big_endian: true, max: [31, 63, 31], shift: [11, 5, 0] };
        for (format, colour, bytes) in [
            (PixelFormat::RGB_32, [1, 2, 3], &[3, 2, 1, 0][..]),
            (rgb565, [255, 0, 255], &[0xf8, 0x1f]),
            (PixelFormat { is_big_endian: false, ..rgb565 }, [0, 255, 0], &[0xe0, 0x07]),
        ] {
            let mut out = Vec::new();
            format.put(colour, &mut out);
            assert_eq!(out, bytes);
        }
    }

    #[tokio::test]
    async fn a_format_is_read_as_it_is_written() {
        let mut message = vec![0; 3];
        message.extend(PixelFormat::RGB_32.bytes());
        assert_eq!(PixelFormat::read(&mut &message[..]).await.unwrap(), PixelFormat::RGB_32);
        message[6] = 0;
        assert!(PixelFormat::read(&mut &message[..]).await.is_err(), "a palette");
    }
}
