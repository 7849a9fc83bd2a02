//! Words for QEMU's command line.

use std::ffi::OsString;
use std::path::Path;

/// Arguments as they grow. In an option's list of values a comma in a file name is written twice.
#[derive(Default)]
pub(crate) struct CommandLine {
    pub(crate) arguments: Vec<OsString>,
}

impl CommandLine {
    pub(crate) fn flag(&mut self, name: &str) -> &mut Self {
        self.arguments.push(name.into());
        self
    }

    pub(crate) fn option(&mut self, name: &str, value: &str) -> &mut Self {
        self.flag(name).flag(value)
    }

    pub(crate) fn file_option(&mut self, name: &str, before: &str, file: &Path) -> &mut Self {
        // A value without a list in front is one file name, commas and all.
        let file = match before {
            "" => file.as_os_str().to_owned(),
            _ => file.to_string_lossy().replace(',', ",,").into(),
        };
        self.flag(name);
        let mut value = OsString::from(before);
        value.push(file);
        self.arguments.push(value);
        self
    }

    /// More of the last value.
    pub(crate) fn and(&mut self, more: &str) -> &mut Self {
        if let Some(last) = self.arguments.last_mut() {
            last.push(more);
        }
        self
    }
}
