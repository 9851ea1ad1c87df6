// Rust of many shapes. Each function prints one line about itself; a script that probes it must print the same line.
use std::hint::black_box;

pub struct Point { pub x: i32, pub y: i16 }
pub struct Shape { pub corner: Point, pub name: &'static str, pub sides: [u16; 3], pub next: Option<Box<Shape>>, pub weight: f64 }
#[repr(u8)]
#[derive(Clone, Copy)]
pub enum Color { Red = 1, Green = 200 }

#[inline(never)]
pub fn numbers(a: i8, b: u8, c: i16, d: u32, e: i64, f: bool, g: char, h: usize, i: Color) {
    println!("numbers {} {} {} {} {} {} {} {} {}", a, b, c, d, e, f as u8, g as u32, h, i as u8);
}

#[inline(never)]
pub fn shape(s: &Shape) -> i32 {
    println!("shape {} {} {} {} {} {:.3}", s.corner.x, s.corner.y, s.name, s.sides[2], s.next.as_ref().unwrap().corner.x, s.weight);
    s.corner.x
}

#[inline(never)]
pub fn text(t: &str, list: &[i64]) -> usize {
    println!("text {} {} {} {}", t, t.len(), list[1], list.len());
    t.len()
}

#[inline(never)]
pub fn mutable(p: &mut Point, by: i32) {
    println!("mutable {} {}", p.x, by);
    p.x += by;
}

#[inline(never)]
pub fn generic<T: Copy + Into<i64>>(v: T, w: T) -> i64 {
    let r = v.into() + w.into();
    println!("generic {}", r);
    r
}

pub mod inner {
    pub struct Counter { pub count: u64 }
    impl Counter {
        #[inline(never)]
        pub fn bump(&mut self, by: u64) -> u64 {
            println!("bump {} {}", self.count, by);
            self.count += by;
            self.count
        }
    }
}

pub trait Draw { fn draw(&self, n: i32) -> i32; }
impl Draw for Point {
    #[inline(never)]
    fn draw(&self, n: i32) -> i32 {
        println!("draw {} {}", self.x, n);
        n
    }
}

#[inline(never)]
pub fn fails(x: i32) -> i32 {
    if x > 1 { panic!("as wanted"); }
    x + 7
}

fn main() {
    let small = Shape { corner: Point { x: 11, y: 12 }, name: "small", sides: [1, 2, 3], next: None, weight: 0.5 };
    let large = Shape { corner: Point { x: -21, y: -22 }, name: "large", sides: [4, 5, 60000], next: Some(Box::new(small)), weight: -2.75 };
    numbers(black_box(-1), 255, -300, 4000000000, -5000000000, black_box(true), '€', 77, black_box(Color::Green));
    black_box(shape(black_box(&large)));
    black_box(text(black_box("some text"), black_box(&[1, -2, 3])));
    let mut p = Point { x: 5, y: 6 };
    mutable(black_box(&mut p), 3);
    black_box(generic(black_box(40i32), 2));
    black_box(generic(black_box(50u8), 5));
    let mut c = inner::Counter { count: 100 };
    black_box(black_box(&mut c).bump(5));
    println!("bump-return {}", c.count);
    black_box(black_box(&p).draw(4));
    std::panic::set_hook(Box::new(|_| {}));
    println!("fails {}", fails(black_box(1)));
    println!("caught {}", std::panic::catch_unwind(|| fails(black_box(2))).is_err() as u8);
    black_box(Color::Red as u8);
}
