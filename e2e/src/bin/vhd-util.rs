//! As much of dom0's `vhd-util` as plugins ask for, on real VHDs: `query -f` and `-p`, `modify -p` and `check`. What is
//! simulated has that program no more than a build machine.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use vhd::Structure;
use vhd::format::{DiskType, DynamicHeader, FOOTER_LEN, Footer, HEADER_LEN, ParentPath, Platform};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let answer = match args[..] {
        ["query", "-n", file, "-f"] => format!("hidden: {}", read(file)?.0.hidden),
        ["query", "-n", file, "-p"] => match read(file)? {
            (footer, _) if footer.disk_type != DiskType::Differencing => format!("{file} has no parent"),
            (_, header) => Path::new(file).with_file_name(header.parent_name).display().to_string(),
        },
        ["modify", "-n", file, "-p", parent] => return relink(file, parent),
        ["check", "-n", file, "-p"] => {
            check(file)?;
            format!("{file} is valid")
        }
        _ => bail!("unknown arguments {args:?}"),
    };
    Ok(writeln!(std::io::stdout(), "{answer}")?)
}

fn read(file: &str) -> Result<(Footer, DynamicHeader)> {
    let mut vhd = File::open(file).context(file.to_owned())?;
    let (mut footer, mut header) = ([0; FOOTER_LEN], [0; HEADER_LEN]);
    vhd.read_exact(&mut footer)?;
    vhd.read_exact(&mut header)?;
    let footer = Footer::parse(&footer, 0, Structure::FrontFooter)?;
    Ok((footer, DynamicHeader::parse(&header, FOOTER_LEN as u64)?))
}

/// Both footers, and the header between them.
fn check(file: &str) -> Result<()> {
    let (front, _) = read(file)?;
    let (mut vhd, mut footer) = (File::open(file)?, [0; FOOTER_LEN]);
    let at = vhd.seek(SeekFrom::End(-(FOOTER_LEN as i64)))?;
    vhd.read_exact(&mut footer)?;
    match Footer::parse(&footer, at, Structure::EndFooter)? == front {
        true => Ok(()),
        false => bail!("its footers differ"),
    }
}

/// Gives a file another parent, in the header and in its locator.
fn relink(file: &str, parent: &str) -> Result<()> {
    let (_, mut header) = read(file)?;
    let name = Path::new(parent).file_name().and_then(|name| name.to_str()).context("a file name")?;
    header.parent_name = name.to_owned();
    header.parent_uuid = read(parent)?.0.uuid;
    let path = ParentPath::new(&format!("./{name}")).and_then(|path| path.encode(Platform::MACX));
    let path = path.context("a path")?;
    let mut vhd = OpenOptions::new().write(true).open(file)?;
    for locator in &mut header.locators {
        locator.len = u32::try_from(path.len())?;
        vhd.seek(SeekFrom::Start(locator.offset))?;
        vhd.write_all(&path)?;
    }
    vhd.seek(SeekFrom::Start(FOOTER_LEN as u64))?;
    Ok(vhd.write_all(&header.to_bytes())?)
}
