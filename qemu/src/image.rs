//! Where `cargo image` puts what a machine boots.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// A kernel and the initial file system that goes with it, and what was made of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    folder: PathBuf,
    kernel: PathBuf,
    initrd: PathBuf,
}

impl Image {
    /// What `cargo image` (profile `ci`) or `cargo image --release` (profile `release`) wrote last.
    ///
    /// # Errors
    /// [`Error::NoImage`] if it has not been built.
    pub fn built(profile: &str) -> Result<Self, Error> {
        Self::in_folder(&target().join("image").join(profile))
    }

    /// An image elsewhere: the files `Image` and `initrd` in one folder, and beside them whatever is asked for later.
    pub fn in_folder(folder: &Path) -> Result<Self, Error> {
        let image = Self {
            folder: folder.to_owned(),
            kernel: folder.join("Image"),
            initrd: folder.join("initrd"),
        };
        for file in [&image.kernel, &image.initrd] {
            present(file.clone())?;
        }
        Ok(image)
    }

    /// The same kernel with another initial file system.
    #[must_use]
    pub fn with_initrd(self, initrd: &Path) -> Self {
        Self {
            initrd: initrd.to_owned(),
            ..self
        }
    }

    /// The bare kernel, which QEMU starts itself.
    pub fn kernel(&self) -> &Path {
        &self.kernel
    }

    /// The initial file system.
    pub fn initrd(&self) -> &Path {
        &self.initrd
    }

    /// The whole disk with firmware partition, bootstate and both slots, as it is flashed: see [`Disk::flash`].
    ///
    /// # Errors
    /// [`Error::NoImage`] if it has not been built.
    ///
    /// [`Disk::flash`]: crate::Disk::flash
    pub fn disk(&self) -> Result<PathBuf, Error> {
        present(self.folder.join("postolka-virt.img"))
    }

    /// The update file: what one slot holds.
    ///
    /// # Errors
    /// [`Error::NoImage`] if it has not been built.
    pub fn update(&self) -> Result<PathBuf, Error> {
        present(self.folder.join("postolka-virt.update"))
    }

    /// The description of a board, by its file name in the kernel.
    ///
    /// # Errors
    /// [`Error::NoImage`] if it has not been built.
    pub fn device_tree(&self, name: &str) -> Result<PathBuf, Error> {
        present(self.folder.join("dtb").join(name))
    }
}

fn present(file: PathBuf) -> Result<PathBuf, Error> {
    if file.is_file() {
        Ok(file)
    } else {
        Err(Error::NoImage(file))
    }
}

/// The checkout this crate is in.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// cargo's target folder, where the builder puts images too.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}
