// Runs a model of one float input (1, 2, 4, 4) with the kernels of onnxnorm and prints what comes out. No crate needed.
//   rustc run.rs -C link-arg=ONNXRUNTIME/libonnxruntime.so.1 -C link-arg=-Wl,-rpath,ONNXRUNTIME
//   ./run model.onnx libonnxnorm_custom_ops.so X Y        ("-" in place of the library runs the model's own bodies)
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::ptr::{null, null_mut};

type Ptr = *mut c_void;
type Unused = *const c_void;

// The functions of the runtime's table that are called here, each at its place (see include/onnxnorm.h).
#[repr(C)]
struct Api {
    unused_0: [Unused; 2],
    message: unsafe extern "C" fn(Ptr) -> *const c_char,
    create_env: unsafe extern "C" fn(c_int, *const c_char, *mut Ptr) -> Ptr,
    unused_4: [Unused; 3],
    create_session: unsafe extern "C" fn(Ptr, *const c_char, Ptr, *mut Ptr) -> Ptr,
    unused_8: [Unused; 1],
    run: unsafe extern "C" fn(Ptr, Ptr, *const *const c_char, *const Ptr, usize, *const *const c_char, usize, *mut Ptr) -> Ptr,
    create_options: unsafe extern "C" fn(*mut Ptr) -> Ptr,
    unused_11: [Unused; 18],
    register_library: unsafe extern "C" fn(Ptr, *const c_char, *mut Ptr) -> Ptr,
    unused_30: [Unused; 19],
    create_tensor: unsafe extern "C" fn(Ptr, Ptr, usize, *const i64, usize, c_int, *mut Ptr) -> Ptr,
    unused_50: [Unused; 1],
    tensor_data: unsafe extern "C" fn(Ptr, *mut Ptr) -> Ptr,
    unused_52: [Unused; 17],
    create_memory: unsafe extern "C" fn(c_int, c_int, *mut Ptr) -> Ptr,
}

#[repr(C)]
struct ApiBase {
    get_api: unsafe extern "C" fn(u32) -> *const Api,
}

extern "C" {
    fn OrtGetApiBase() -> *const ApiBase;
}

fn main() {
    let texts: Vec<CString> = std::env::args().skip(1).map(|text| CString::new(text).unwrap()).collect();
    let [model, library, input, output] = &texts[..] else { panic!("usage: run model.onnx library input output") };
    unsafe {
        let api = ((*OrtGetApiBase()).get_api)(17).as_ref().expect("an ONNX Runtime of 1.17 or newer");
        let check = |status: Ptr| assert!(status.is_null(), "{:?}", CStr::from_ptr((api.message)(status)));
        let (mut env, mut options, mut session, mut memory) = (null_mut(), null_mut(), null_mut(), null_mut());
        let (mut handle, mut x, mut y, mut result) = (null_mut(), null_mut(), null_mut(), null_mut());
        check((api.create_env)(3, c"run".as_ptr(), &mut env));
        check((api.create_options)(&mut options));
        if library.as_bytes() != b"-" {
            check((api.register_library)(options, library.as_ptr(), &mut handle));
        }
        check((api.create_session)(env, model.as_ptr(), options, &mut session));
        let mut data: Vec<f32> = (0..32).map(|i| (i - 11) as f32 / 4.0).collect();
        check((api.create_memory)(1, 0, &mut memory));
        check((api.create_tensor)(memory, data.as_mut_ptr().cast(), 128, [1i64, 2, 4, 4].as_ptr(), 4, 1, &mut x));
        let (inputs, outputs) = ([input.as_ptr()], [output.as_ptr()]);
        check((api.run)(session, null::<c_void>() as Ptr, inputs.as_ptr(), &x, 1, outputs.as_ptr(), 1, &mut y));
        check((api.tensor_data)(y, &mut result));
        for value in std::slice::from_raw_parts(result as *const f32, 32) {
            println!("{value:.9}");
        }
    }
}
