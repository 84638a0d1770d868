//! The little of onnxruntime's C API that scoring needs: one table of function pointers that only ever grows at the end, so
//! these places hold for every release since 1.14 (API version 14). The numbers are places in the table.

use std::ffi::{c_char, c_int, c_void};

pub const API_VERSION: u32 = 14;
pub const FLOAT: c_int = 1;
pub const INT64: c_int = 7;
pub const BOOL: c_int = 9;
pub const FATAL: c_int = 4;

/// Something that belongs to onnxruntime.
#[repr(C)]
pub struct Opaque {
    _private: [u8; 0],
}

type Unused = *const c_void;
/// Null = success; what is not must be released.
pub type Status = *mut Opaque;
type Release = unsafe extern "C" fn(*mut Opaque);
type Count = unsafe extern "C" fn(*const Opaque, *mut usize) -> Status;
type TypeInfo = unsafe extern "C" fn(*const Opaque, usize, *mut *mut Opaque) -> Status;
type Name = unsafe extern "C" fn(*const Opaque, usize, *mut Opaque, *mut *mut c_char) -> Status;
type SetNumber = unsafe extern "C" fn(*mut Opaque, c_int) -> Status;

#[repr(C)]
pub struct Api {
    from_0: [Unused; 2],
    pub get_error_message: unsafe extern "C" fn(*const Opaque) -> *const c_char, // 2
    pub create_env: unsafe extern "C" fn(c_int, *const c_char, *mut *mut Opaque) -> Status,
    from_4: [Unused; 4],
    pub create_session_from_array:
        unsafe extern "C" fn(*const Opaque, *const c_void, usize, *const Opaque, *mut *mut Opaque) -> Status, // 8
    #[allow(clippy::type_complexity)]
    pub run: unsafe extern "C" fn(
        *mut Opaque,
        *const Opaque,
        *const *const c_char,
        *const *const Opaque,
        usize,
        *const *const c_char,
        usize,
        *mut *mut Opaque,
    ) -> Status,
    pub create_session_options: unsafe extern "C" fn(*mut *mut Opaque) -> Status,
    from_11: [Unused; 11],
    pub set_session_log_severity_level: SetNumber, // 22
    from_23: [Unused; 1],
    pub set_intra_op_num_threads: SetNumber, // 24
    pub set_inter_op_num_threads: SetNumber,
    from_26: [Unused; 4],
    pub session_get_input_count: Count, // 30
    pub session_get_output_count: Count,
    from_32: [Unused; 1],
    pub session_get_input_type_info: TypeInfo, // 33
    pub session_get_output_type_info: TypeInfo,
    from_35: [Unused; 1],
    pub session_get_input_name: Name, // 36
    pub session_get_output_name: Name,
    from_38: [Unused; 11],
    pub create_tensor_with_data_as_ort_value:
        unsafe extern "C" fn(*const Opaque, *mut c_void, usize, *const i64, usize, c_int, *mut *mut Opaque) -> Status, // 49
    pub is_tensor: unsafe extern "C" fn(*const Opaque, *mut c_int) -> Status,
    pub get_tensor_mutable_data: unsafe extern "C" fn(*mut Opaque, *mut *mut c_void) -> Status,
    from_52: [Unused; 3],
    pub cast_type_info_to_tensor_info: unsafe extern "C" fn(*const Opaque, *mut *const Opaque) -> Status, // 55
    from_56: [Unused; 4],
    pub get_tensor_element_type: unsafe extern "C" fn(*const Opaque, *mut c_int) -> Status, // 60
    pub get_dimensions_count: unsafe extern "C" fn(*const Opaque, *mut usize) -> Status,
    pub get_dimensions: unsafe extern "C" fn(*const Opaque, *mut i64, usize) -> Status,
    from_63: [Unused; 2],
    pub get_tensor_type_and_shape: unsafe extern "C" fn(*const Opaque, *mut *mut Opaque) -> Status, // 65
    from_66: [Unused; 3],
    pub create_cpu_memory_info: unsafe extern "C" fn(c_int, c_int, *mut *mut Opaque) -> Status, // 69
    from_70: [Unused; 6],
    pub allocator_free: unsafe extern "C" fn(*mut Opaque, *mut c_void) -> Status, // 76
    from_77: [Unused; 1],
    pub get_allocator_with_default_options: unsafe extern "C" fn(*mut *mut Opaque) -> Status, // 78
    from_79: [Unused; 13],
    pub release_env: Release, // 92
    pub release_status: Release,
    pub release_memory_info: Release,
    pub release_session: Release,
    pub release_value: Release,
    from_97: [Unused; 1],
    pub release_type_info: Release, // 98
    pub release_tensor_type_and_shape_info: Release,
    pub release_session_options: Release,
    from_101: [Unused; 29],
    pub add_session_config_entry: unsafe extern "C" fn(*mut Opaque, *const c_char, *const c_char) -> Status, // 130
}

const _: () = {
    const PLACE: usize = std::mem::size_of::<Unused>();
    assert!(std::mem::offset_of!(Api, session_get_input_count) == 30 * PLACE);
    assert!(std::mem::offset_of!(Api, get_tensor_element_type) == 60 * PLACE);
    assert!(std::mem::offset_of!(Api, release_env) == 92 * PLACE);
    assert!(std::mem::offset_of!(Api, add_session_config_entry) == 130 * PLACE);
};

#[repr(C)]
pub struct ApiBase {
    pub get_api: unsafe extern "C" fn(u32) -> *const Api,
    pub get_version_string: unsafe extern "C" fn() -> *const c_char,
}

extern "C" {
    pub fn OrtGetApiBase() -> *const ApiBase;
}
