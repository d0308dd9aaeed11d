//! Memory at hand before something is measured.

use std::fs::read_to_string;

use memmap2::MmapMut;

const PAGE_BYTES: usize = 4 << 10;
/// More than a contender, its database and the page cache of both come to take.
const AT_HAND_BYTES: u64 = 2 << 30;

/// Touches memory and gives it back, so that what is measured next finds it with this machine.
///
/// The host of a virtual machine may take back what has not been used for some seconds (free page reporting), and then takes far
/// longer to give it again than a page takes to clear: whoever came next would pay for it, and another time another one.
pub fn bring_to_hand() {
    let text = read_to_string("/proc/meminfo").expect("/proc/meminfo");
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).expect("MemAvailable");
    let available: u64 = line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number of KiB");
    let bytes = AT_HAND_BYTES.min(available * 1024 / 2) as usize;
    let mut memory = MmapMut::map_anon(bytes).expect("half of what is available");
    for page in memory.chunks_mut(PAGE_BYTES) {
        page[0] = 1;
    }
}
