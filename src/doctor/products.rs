//! The product numbers of RealSense cameras, as librealsense's public sources list them.

/// All of them are of this vendor, Intel.
pub(super) const VENDOR_ID: u16 = 0x8086;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Camera,
    /// A camera that waits for firmware.
    Recovery,
    /// A camera that today's librealsense does not know any more.
    Retired,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Product {
    pub id: u16,
    pub name: &'static str,
    pub kind: Kind,
}

const fn camera(id: u16, name: &'static str) -> Product {
    Product { id, name, kind: Kind::Camera }
}

const fn recovery(id: u16, name: &'static str) -> Product {
    Product { id, name, kind: Kind::Recovery }
}

const fn retired(id: u16, name: &'static str) -> Product {
    Product { id, name, kind: Kind::Retired }
}

/// Those on a USB port. Cameras on GMSL links need no rules and are not on the bus.
pub(super) const PRODUCTS: [Product; 38] = [
    camera(0x0ad1, "D400"),
    camera(0x0ad2, "D410"),
    camera(0x0ad3, "D415"),
    camera(0x0ad4, "D430"),
    camera(0x0ad5, "D430 with tracking module"),
    camera(0x0ad6, "D4 on USB 2"),
    camera(0x0af2, "D400 motion module"),
    camera(0x0af6, "D420"),
    camera(0x0afe, "D420 with tracking module"),
    camera(0x0aff, "D410 with tracking module"),
    camera(0x0b00, "D400 with tracking module"),
    camera(0x0b01, "D430 with tracking and colour modules"),
    camera(0x0b03, "D460"),
    camera(0x0b07, "D435"),
    camera(0x0b0c, "D405 prototype"),
    camera(0x0b3a, "D435i"),
    camera(0x0b49, "F416"),
    camera(0x0b4b, "D430i"),
    camera(0x0b52, "F416 with colour module"),
    camera(0x0b5b, "D405"),
    camera(0x0b5c, "D455"),
    camera(0x0b6a, "D585"),
    camera(0x0b6b, "D585S"),
    camera(0x1155, "D421"),
    camera(0x1156, "D436"),
    recovery(0x0adb, "D400 in recovery"),
    recovery(0x0adc, "D400 on USB 2 in recovery"),
    recovery(0x0add, "D500 in recovery"),
    recovery(0x0ab3, "SR300 in recovery"),
    recovery(0x0b55, "L515 in recovery"),
    retired(0x0aa5, "SR300"),
    retired(0x0aa3, "SR306"),
    retired(0x0b48, "SR305"),
    retired(0x0b0d, "L500"),
    retired(0x0b3d, "L515 prototype"),
    retired(0x0b64, "L515"),
    retired(0x0b68, "L535"),
    retired(0x0a80, "R200"),
];
