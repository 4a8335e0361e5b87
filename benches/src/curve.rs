//! How something grows: points, the power law through them, and a picture of both beside those of a peer.

use std::path::{Path, PathBuf};

use plotters::prelude::*;

/// What was measured at several sizes.
#[derive(Debug, Clone)]
pub struct Series {
    /// Whose it is.
    pub name: String,
    /// Size and cost, both above 0.
    pub points: Vec<(f64, f64)>,
}

/// Series over the same sizes.
#[derive(Debug, Clone)]
pub struct Curve {
    /// Name of the file, without an ending.
    pub name: &'static str,
    /// What is shown.
    pub title: &'static str,
    /// What grows, with its unit.
    pub size: &'static str,
    /// What it costs, with its unit.
    pub cost: &'static str,
    /// Ours first.
    pub series: Vec<Series>,
}

impl Series {
    /// Exponent `b` of the power law `a * size^b` through the points (least squares of the logarithms): 0 does not
    /// grow, 1 grows as the size does. None with fewer than two sizes.
    pub fn exponent(&self) -> Option<f64> {
        let logs: Vec<(f64, f64)> = self.points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
        let count = logs.len() as f64;
        let (x_mean, y_mean) =
            (logs.iter().map(|p| p.0).sum::<f64>() / count, logs.iter().map(|p| p.1).sum::<f64>() / count);
        let above: f64 = logs.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
        let below: f64 = logs.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
        (below > 0.0).then(|| above / below)
    }

    /// The exponent between the last two sizes, where what is constant counts least: what the law approaches.
    pub fn last_exponent(&self) -> Option<f64> {
        let last = self.points.len().checked_sub(2)?;
        Self { name: String::new(), points: self.points[last..].to_vec() }.exponent()
    }
}

impl Series {
    /// A line on from the last size, as the law goes on that the last two tell.
    fn limit(&self) -> Vec<(f64, f64)> {
        let (Some((size, cost)), Some(exponent)) = (self.points.last(), self.last_exponent()) else {
            return Vec::new();
        };
        vec![(*size, *cost), (size * BEYOND, cost * BEYOND.powf(exponent))]
    }
}

/// How far beyond the last size a law is drawn.
const BEYOND: f64 = 3.0;

/// A number at an axis, without the noise of what cannot be written exactly.
fn short(number: &f64) -> String {
    let text = format!("{number:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Curve {
    /// The points as a table, with the exponents below.
    pub fn table(&self) -> String {
        let mut text = format!("\n{}\n{:>28}", self.title, self.size);
        for series in &self.series {
            text += &format!(" {:>26}", series.name);
        }
        text += &format!("   ({})\n", self.cost);
        let sizes = self.series.iter().flat_map(|series| series.points.iter().map(|(size, _)| *size));
        let mut sizes: Vec<f64> = sizes.collect();
        sizes.sort_by(f64::total_cmp);
        sizes.dedup();
        for size in sizes {
            text += &format!("{size:>28}");
            for series in &self.series {
                match series.points.iter().find(|point| point.0 == size) {
                    Some((_, cost)) => text += &format!(" {cost:>26.4}"),
                    None => text += &format!(" {:>26}", "-"),
                }
            }
            text += "\n";
        }
        for (label, exponent) in [
            ("exponent, all sizes", Series::exponent as fn(&Series) -> Option<f64>),
            ("exponent, last two", Series::last_exponent),
        ] {
            text += &format!("{label:>28}");
            for series in &self.series {
                text += &format!(" {:>26}", exponent(series).map_or("-".into(), |b| format!("{b:.2}")));
            }
            text += "\n";
        }
        text
    }

    /// Draws it with logarithmic scales into `folder`, as SVG.
    ///
    /// # Errors
    /// When there are no points, or the file cannot be written.
    pub fn draw(&self, folder: &Path) -> Result<PathBuf, Box<dyn std::error::Error>> {
        let path = folder.join(format!("{}.svg", self.name));
        let points = || self.series.iter().flat_map(|series| series.points.iter().copied());
        let range = |values: Vec<f64>, room: f64| {
            let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
            low / room..high * room
        };
        let (mut sizes, costs) =
            (range(points().map(|p| p.0).collect(), 1.3), range(points().map(|p| p.1).collect(), 2.0));
        if points().next().is_none() {
            return Err(format!("{}: nothing was measured", self.name).into());
        }
        // Room for what the laws approach.
        sizes.end *= BEYOND;
        {
            let area = SVGBackend::new(&path, (720, 420)).into_drawing_area();
            area.fill(&WHITE)?;
            let mut chart = ChartBuilder::on(&area)
                .caption(self.title, ("sans-serif", 18))
                .margin(12)
                .x_label_area_size(42)
                .y_label_area_size(64)
                .build_cartesian_2d(sizes.log_scale(), costs.log_scale())?;
            chart
                .configure_mesh()
                .x_desc(self.size)
                .y_desc(self.cost)
                .x_label_formatter(&short)
                .y_label_formatter(&short)
                .light_line_style(WHITE)
                .draw()?;
            for (series, colour) in self.series.iter().zip([BLUE, RED, GREEN, BLACK]) {
                let name = match series.exponent().zip(series.last_exponent()) {
                    Some((exponent, last)) => {
                        format!("{} (exponent {exponent:.2}, {last:.2} at the end)", series.name)
                    }
                    None => series.name.clone(),
                };
                chart.draw_series(LineSeries::new(series.limit(), colour.mix(0.4).stroke_width(1)))?;
                chart
                    .draw_series(LineSeries::new(series.points.clone(), colour.stroke_width(2)))?
                    .label(name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
                chart.draw_series(series.points.iter().map(|p| Circle::new(*p, 3, colour.filled())))?;
            }
            let legend = chart
                .configure_series_labels()
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK)
                .position(SeriesLabelPosition::UpperLeft)
                .draw();
            legend?;
            area.present()?;
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_short_numbers() {
        for (number, text) in [(0.009_000_000_000_000_001, "0.009"), (10_000.0, "10000"), (0.5, "0.5")] {
            assert_eq!(short(&number), text);
        }
    }

    #[test]
    fn the_exponent_is_that_of_the_law() {
        let series = |law: &dyn Fn(f64) -> f64| Series {
            name: "ours".into(),
            points: [1.0, 10.0, 100.0].map(|size| (size, law(size))).to_vec(),
        };
        for (law, exponent) in [
            (&(|_| 7.0) as &dyn Fn(f64) -> f64, 0.0),
            (&|size| 3.0 * size, 1.0),
            (&|size: f64| 2.0 * size.powf(1.5), 1.5),
        ] {
            assert!((series(law).exponent().unwrap() - exponent).abs() < 1e-9);
            assert!((series(law).last_exponent().unwrap() - exponent).abs() < 1e-9);
        }
        // What does not grow hides less and less of what does.
        let both = series(&|size| 50.0 + size);
        assert!(both.last_exponent().unwrap() > both.exponent().unwrap());
        assert_eq!(Series { name: String::new(), points: vec![(1.0, 1.0)] }.exponent(), None);
    }

    #[test]
    fn a_picture_has_every_series() {
        let folder = tempfile::tempdir().unwrap();
        let series = |name: &str, points| Series { name: name.into(), points };
        let curve = Curve {
            name: "list",
            title: "Listing",
            size: "VMs",
            cost: "seconds",
            series: vec![
                series("ours", vec![(1.0, 0.1), (10.0, 0.2)]),
                series("the peer", vec![(1.0, 1.0), (10.0, 9.0)]),
            ],
        };
        let svg = std::fs::read_to_string(curve.draw(folder.path()).unwrap()).unwrap();
        for part in [
            "ours (exponent 0.30, 0.30 at the end)",
            "the peer (exponent 0.95, 0.95 at the end)",
            "VMs",
            "seconds",
        ] {
            assert!(svg.contains(part), "{part} is not in it");
        }
        assert_eq!(curve.table().lines().count(), 7);
        let nothing = Curve { series: Vec::new(), ..curve };
        assert!(nothing.draw(folder.path()).is_err());
    }
}
