/** A part of the demo shop: its kinds of goods, and the words by which people look for the whole part. */
export interface Category {
  readonly name: string;
  /** Each noun is one kind of goods; no noun stands in two categories. */
  readonly nouns: readonly string[];
  readonly intents: readonly string[];
}

function category(name: string, nouns: string, intents: string): Category {
  return { name, nouns: nouns.split(' '), intents: intents.split(' ') };
}

// prettier-ignore
export const CATEGORIES: readonly Category[] = [
  category('Kitchen', 'Skillet Kettle Teapot Ladle Colander Saucepan Whisk Grater Casserole Toaster', 'cooking chef stove recipe'),
  category('Bakery', 'Rolling-Pin Cake-Tin Muffin-Tray Dough-Bowl Sieve Piping-Bag Bread-Knife Pastry-Brush Cookie-Cutter Proofing-Basket', 'baking dessert flour oven'),
  category('Camping', 'Tent Sleeping-Bag Lantern Hammock Camp-Stove Headlamp Tarp Water-Filter Compass Bivouac', 'hiking outdoors trek wilderness'),
  category('Garden', 'Trowel Planter Watering-Can Rake Wheelbarrow Trellis Birdhouse Pruner Hose Greenhouse', 'gardening lawn flowers yard'),
  category('Office', 'Notebook Stapler Desk-Lamp Fountain-Pen Organizer Binder Whiteboard Calendar Chair-Mat Letter-Tray', 'stationery paperwork workplace study'),
  category('Music', 'Ukulele Metronome Guitar-Strap Drumstick Tuner Harmonica Music-Stand Keyboard Microphone Tambourine', 'band instrument concert practice'),
  category('Cycling', 'Helmet Pannier Bike-Pump Saddle Bell Chain-Lock Pedal Jersey Bottle-Cage Mudguard', 'bicycle commute ride cyclist'),
  category('Fitness', 'Dumbbell Yoga-Mat Kettlebell Jump-Rope Resistance-Band Foam-Roller Pull-Up-Bar Wrist-Wrap Gym-Bag Balance-Board', 'workout exercise training strength'),
  category('Bedroom', 'Pillow Duvet Mattress-Topper Nightstand Bedspread Alarm-Clock Sleep-Mask Headboard Blanket Fitted-Sheet', 'sleeping bedtime cosy rest'),
  category('Bathroom', 'Towel Soap-Dish Bath-Mat Shower-Curtain Toothbrush-Holder Laundry-Basket Washcloth Vanity-Mirror Shower-Head Bathrobe', 'washing spa hygiene bathing'),
  category('Lighting', 'Chandelier Floor-Lamp String-Light Candle-Holder Night-Light Pendant-Lamp Spotlight Lampshade Dimmer Wall-Sconce', 'illumination glow brightness ambience'),
  category('Toys', 'Puzzle Kite Teddy Toy-Train Yo-Yo Building-Block Doll Marble-Run Spinning-Top Rocking-Horse', 'children kids play nursery'),
  category('Pets', 'Dog-Leash Cat-Tree Aquarium Pet-Bed Bird-Feeder Chew-Toy Litter-Box Hamster-Wheel Collar Scratching-Post', 'animal puppy kitten companion'),
  category('Travel', 'Suitcase Passport-Wallet Neck-Pillow Luggage-Tag Travel-Adapter Packing-Cube Money-Belt Toiletry-Bag Duffel Umbrella', 'journey vacation flight holiday'),
  category('Coffee', 'Espresso-Machine Coffee-Grinder French-Press Milk-Frother Coffee-Mug Pour-Over Moka-Pot Tamper Coffee-Scale Thermos', 'barista brewing caffeine beans'),
  category('Art', 'Easel Sketchbook Watercolor-Set Paintbrush Canvas Charcoal-Stick Palette Pastel Calligraphy-Pen Modeling-Clay', 'painting drawing craft creative'),
  category('Winter', 'Scarf Mittens Beanie Snow-Shovel Ice-Skates Sled Thermal-Socks Hand-Warmer Snow-Boots Earmuffs', 'snow cold skiing frost'),
  category('Beach', 'Sunhat Beach-Towel Snorkel Parasol Cooler-Box Flip-Flops Surfboard Sand-Toy Swim-Goggles Deck-Chair', 'summer seaside swimming ocean'),
  category('Workshop', 'Hammer Screwdriver Tape-Measure Tool-Box Hand-Saw Spirit-Level Clamp Drill Wrench Workbench', 'repair woodwork tools builder'),
  category('Party', 'Balloon Garland Confetti Party-Hat Gift-Wrap Photo-Booth Paper-Lantern Cake-Stand Punch-Bowl Bunting', 'birthday celebration festive guests'),
];

/** Adjectives by the style they stand for. */
export const STYLES: readonly (readonly string[])[] = [
  ['Rustic', 'Oak', 'Farmhouse', 'Weathered', 'Handmade'],
  ['Minimal', 'Plain', 'Slim', 'Pure', 'Nordic'],
  ['Retro', 'Vintage', 'Classic', 'Heritage', 'Nostalgic'],
  ['Bold', 'Neon', 'Vivid', 'Electric', 'Striped'],
  ['Natural', 'Organic', 'Bamboo', 'Linen', 'Cotton'],
  ['Golden', 'Velvet', 'Marble', 'Royal', 'Silk'],
  ['Rugged', 'Steel', 'Armored', 'Heavy-Duty', 'Tough'],
  ['Playful', 'Happy', 'Rainbow', 'Dotted', 'Sunny'],
];

// Syllables that brand names are made of.
const STARTS = 'Bel Cor Dav El Fen Gal Hol Jun Kar Lum Mar Nor Or Pel Quin Ros Sol Tal Vel Wil';
const MIDDLES = 'a e i o an el ev im on ur';
const ENDS = 'da dor fina la lis mont na ra ro sta ta vik wyn zo';

/** All 2,800 brand names that the syllables give, in a fixed order. */
export function brandNames(): readonly string[] {
  const ends = ENDS.split(' ');
  const middles = MIDDLES.split(' ');
  return STARTS.split(' ').flatMap((start) =>
    middles.flatMap((middle) => ends.map((end) => `${start}${middle}${end}`)),
  );
}
