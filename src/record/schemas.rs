//! The definitions of the messages that are written, as MCAP's `ros2msg` wants them: each followed
//! by those it stands on.

/// A message type and its definition.
pub struct Schema {
    pub name: &'static str,
    pub text: &'static str,
}

pub const ENCODING: &str = "ros2msg";
pub const MESSAGE_ENCODING: &str = "cdr";
pub const PROFILE: &str = "ros2";

/// A definition and those it stands on, parted by the line and title that ROS tools look for.
macro_rules! definition {
    ($own:literal $(, $name:literal => $fields:literal)*) => {
        concat!(
            $own,
            $("================================================================================\nMSG: ", $name, "\n", $fields),*
        )
    };
}

pub const IMAGE: Schema = Schema {
    name: "sensor_msgs/msg/Image",
    text: definition!(
        "std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step\nuint8[] data\n",
        "std_msgs/Header" => "builtin_interfaces/Time stamp\nstring frame_id\n",
        "builtin_interfaces/Time" => "int32 sec\nuint32 nanosec\n"
    ),
};

pub const CAMERA_INFO: Schema = Schema {
    name: "sensor_msgs/msg/CameraInfo",
    text: definition!(
        "std_msgs/Header header\nuint32 height\nuint32 width\nstring distortion_model\nfloat64[] d\nfloat64[9] k\nfloat64[9] r\n\
         float64[12] p\nuint32 binning_x\nuint32 binning_y\nsensor_msgs/RegionOfInterest roi\n",
        "std_msgs/Header" => "builtin_interfaces/Time stamp\nstring frame_id\n",
        "builtin_interfaces/Time" => "int32 sec\nuint32 nanosec\n",
        "sensor_msgs/RegionOfInterest" => "uint32 x_offset\nuint32 y_offset\nuint32 height\nuint32 width\nbool do_rectify\n"
    ),
};

pub const METADATA: Schema = Schema {
    name: "realsense2_camera_msgs/msg/Metadata",
    text: definition!(
        "std_msgs/Header header\nstring json_data\n",
        "std_msgs/Header" => "builtin_interfaces/Time stamp\nstring frame_id\n",
        "builtin_interfaces/Time" => "int32 sec\nuint32 nanosec\n"
    ),
};

pub const TRANSFORMS: Schema = Schema {
    name: "tf2_msgs/msg/TFMessage",
    text: definition!(
        "geometry_msgs/TransformStamped[] transforms\n",
        "geometry_msgs/TransformStamped" => "std_msgs/Header header\nstring child_frame_id\ngeometry_msgs/Transform transform\n",
        "std_msgs/Header" => "builtin_interfaces/Time stamp\nstring frame_id\n",
        "builtin_interfaces/Time" => "int32 sec\nuint32 nanosec\n",
        "geometry_msgs/Transform" => "geometry_msgs/Vector3 translation\ngeometry_msgs/Quaternion rotation\n",
        "geometry_msgs/Vector3" => "float64 x\nfloat64 y\nfloat64 z\n",
        "geometry_msgs/Quaternion" => "float64 x\nfloat64 y\nfloat64 z\nfloat64 w\n"
    ),
};
