/** Line glyphs on a 20-unit grid, drawn for this page. Decorative: the control that holds one has the name. */

const PATHS = {
  plus: "M10 4v12M4 10h12",
  menu: "M3.500 6h13M3.500 10h13M3.500 14h13",
  more: "M5 10h.01M10 10h.01M15 10h.01",
  close: "M5 5l10 10M15 5L5 15",
  sliders: "M4 6h6M14 6h2M4 14h2M10 14h6M12 4v4M8 12v4",
  send: "M10 16V4.500M5 9.200l5-5 5 5",
  stop: "M6 6h8v8H6z",
  copy: "M7.500 7.500h8v8h-8zM12.500 7.500v-3h-8v8h3",
  check: "M4.500 10.500l3.500 3.500 7.500-8",
  again: "M15.500 10a5.500 5.500 0 1 1-1.700-4M15.500 3v3.500H12",
  pen: "M4 16l.7-3.200L13 4.500l2.500 2.500-8.300 8.300z",
  bin: "M4 6h12M8 6V4h4v2M5.500 6l.7 10h7.600l.7-10",
  end: "M10 4.500V16M5 11.300l5 5 5-5",
  down: "M10 4v9M6 9.500l4 4 4-4M4 16.500h12",
  clip: "M14.500 9.500l-4.800 4.800a3 3 0 0 1-4.300-4.300l5.700-5.700a2 2 0 0 1 2.900 2.900l-5.500 5.500a1 1 0 0 1-1.500-1.400l4.600-4.600",
  up: "M10 13V4M6 7.500l4-4 4 4M4 16.500h12",
  pin: "M7 3.500h6M8 3.500v5l-2.500 3h9L12 8.500v-5M10 11.500v5",
  sun: "M10 6.800a3.200 3.200 0 1 0 0 6.400 3.200 3.200 0 0 0 0-6.400zM10 2.500v1.300M10 16.200v1.300M2.500 10h1.300M16.200 10h1.300M4.700 4.700l.9.9M14.400 14.400l.9.9M15.300 4.700l-.9.9M5.600 14.400l-.9.9",
  moon: "M16 11.500A6.500 6.500 0 1 1 8.500 4a5.200 5.200 0 0 0 7.500 7.500z",
  auto: "M10 3.500a6.500 6.500 0 1 0 0 13zM10 3.500a6.500 6.500 0 0 1 0 13",
  chart: "M3.500 16.500h13M5 13.500l3.500-4 3 2.500 4-6.500",
  layers: "M10 3.500l7 3.500-7 3.500L3 7zM3.500 10.500L10 13.800l6.500-3.300M3.500 13.800L10 17l6.500-3.200",
  odds: "M4 16V9M8 16V4M12 16v-5M16 16v-2.500",
  trits: "M3 10h3.500M8.500 10a1.500 1.500 0 1 0 3 0 1.500 1.500 0 1 0-3 0M13.500 10H17.500M15.500 8v4",
  left: "M12 5l-5 5 5 5",
  right: "M8 5l5 5-5 5",
  file: "M5 3.500h6.500L15 7v9.500H5zM11.500 3.500V7H15",
  find: "M9 4a5 5 0 1 0 0 10A5 5 0 0 0 9 4zM12.700 12.700L16.500 16.500",
} as const;

export type GlyphName = keyof typeof PATHS;

export function Glyph({ name }: { name: GlyphName }) {
  return (
    <svg class="glyph" viewBox="0 0 20 20" aria-hidden="true">
      <path
        d={PATHS[name]}
        stroke-width={name === "more" ? 2.4 : undefined}
        fill={name === "stop" ? "currentcolor" : undefined}
      />
    </svg>
  );
}
