//! How late a timer may be, whichever kernel it is in: from the life that was seen back to the setting.

use crate::kernel::wheel::lateness_worst;
use crate::time::Duration;

/// The smallest setting with which an entry can have lived so long.
pub fn setting_min(lived: Duration) -> Duration {
    // Lateness grows with the setting, in steps of at most an eighth and a tick.
    let (mut low, mut high) = (Duration(0), lived);
    while high.0 - low.0 > 1_000_000 {
        let middle = Duration(low.0 + (high.0 - low.0) / 2);
        if middle + lateness_worst(middle) >= lived {
            high = middle;
        } else {
            low = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_found_back_from_the_longest_life_that_it_can_have() {
        for secs in [1, 4, 60, 240, 350, 900, 3600, 7200, 432_000] {
            let setting = Duration::from_secs(secs);
            let life = setting + lateness_worst(setting);
            let found = setting_min(life);
            assert!(found <= setting && found.0 * 100 >= setting.0 * 84, "{secs}: {found:?}");
            assert!(setting_min(setting) <= setting);
        }
    }
}
