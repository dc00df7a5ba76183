//! A component of an embedder's own world: neither HTTP nor events, with a host function of its own.

#[cfg(target_arch = "wasm32")]
#[rustfmt::skip]
#[allow(warnings, unsafe_code, reason = "the file is generated")]
mod bindings;

#[cfg(target_arch = "wasm32")]
mod component {
    //! The exports of world `filter`.

    use super::bindings::Guest;
    use super::bindings::acme::filters::host;
    use std::sync::atomic::{AtomicU32, Ordering};

    static CALLS: AtomicU32 = AtomicU32::new(0);

    struct Component;

    #[allow(warnings, unsafe_code, reason = "the export macro is generated too")]
    const _: () = {
        super::bindings::export!(Component with_types_in super::bindings);
    };

    impl Guest for Component {
        fn transform(input: String) -> Result<String, String> {
            // Ordering: relaxed, because a component has one thread.
            CALLS.fetch_add(1, Ordering::Relaxed);
            match input.as_str() {
                "" => Err("input is empty".into()),
                "trap" => panic!("asked to trap"),
                "loop" => loop {
                    std::hint::spin_loop();
                },
                _ => Ok(input.to_uppercase() + &host::lookup("suffix").unwrap_or_default()),
            }
        }

        fn count() -> u32 {
            CALLS.load(Ordering::Relaxed)
        }
    }
}
