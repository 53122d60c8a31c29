//! The signs of packets: each kind has a form of its own, so that they are told apart without colour.

use super::PacketKind;
use crate::report::chart::sheet::{BLUE, GREEN, INK, ORANGE, Point, SOFT, Sheet, VERMILLION, WHITE};

impl PacketKind {
    /// All of them, in the order of the legend.
    pub(super) const ALL: [PacketKind; 7] =
        [PacketKind::Syn, PacketKind::Data, PacketKind::Ack, PacketKind::Probe, PacketKind::Fin, PacketKind::Rst, PacketKind::Icmp];

    /// How it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            PacketKind::Syn => "SYN",
            PacketKind::Data => "data",
            PacketKind::Ack => "ACK",
            PacketKind::Probe => "keepalive probe",
            PacketKind::Fin => "FIN",
            PacketKind::Rst => "RST",
            PacketKind::Icmp => "ICMP error",
        }
    }

    /// Which of two packets at one place is seen: the higher.
    pub(super) fn weight(self) -> u8 {
        match self {
            PacketKind::Rst | PacketKind::Icmp => 5,
            PacketKind::Syn => 4,
            PacketKind::Fin => 3,
            PacketKind::Probe => 2,
            PacketKind::Data => 1,
            PacketKind::Ack => 0,
        }
    }

    /// Draws its sign.
    pub(super) fn draw(self, sheet: &mut Sheet, (x, y): Point) {
        match self {
            PacketKind::Syn => sheet.area(vec![(x - 5.0, y + 4.0), (x + 5.0, y + 4.0), (x, y - 5.0)], GREEN),
            PacketKind::Data => sheet.rect((x - 4.0, y - 4.0), (x + 4.0, y + 4.0), BLUE),
            PacketKind::Ack => sheet.dot((x, y), 2.5, SOFT),
            PacketKind::Probe => {
                let diamond = vec![(x - 5.0, y), (x, y - 5.5), (x + 5.0, y), (x, y + 5.5)];
                sheet.area(diamond.clone(), ORANGE);
                let closed: Vec<Point> = diamond.iter().chain(diamond.first()).copied().collect();
                sheet.line(&closed, INK, 1.0);
            }
            PacketKind::Fin => {
                sheet.rect((x - 4.5, y - 4.5), (x + 4.5, y + 4.5), WHITE);
                sheet.outline((x - 4.5, y - 4.5), (x + 4.5, y + 4.5), INK, 1.5);
            }
            PacketKind::Rst => cross(sheet, (x, y), 5.0, 2.5),
            PacketKind::Icmp => {
                sheet.dot((x, y), 5.0, VERMILLION);
                sheet.dot((x, y), 3.0, WHITE);
            }
        }
    }
}

/// A red cross.
pub(super) fn cross(sheet: &mut Sheet, (x, y): Point, arm: f64, thick: f64) {
    sheet.line(&[(x - arm, y - arm), (x + arm, y + arm)], VERMILLION, thick);
    sheet.line(&[(x - arm, y + arm), (x + arm, y - arm)], VERMILLION, thick);
}
