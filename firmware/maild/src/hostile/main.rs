//! See `maild::hostile`: the program whose sandbox is tried out from inside. No image holds it.

fn main() -> std::process::ExitCode {
    maild::hostile::main()
}
