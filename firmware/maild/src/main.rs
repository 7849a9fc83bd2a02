//! See the library: the whole program is there.

fn main() -> std::process::ExitCode {
    maild::main()
}
