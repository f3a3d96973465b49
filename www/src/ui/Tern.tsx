/** The page's bird, in the colours of the light it is seen in. The same drawing as `public/icon.svg`. */

export function Tern() {
  return (
    <svg class="tern" viewBox="2 3 60 51" aria-hidden="true">
      <path class="far" d="M34 31c-1-9 4-19 20-26-6 8-9 17-12 25z" />
      <path
        class="body"
        d="M4 45c9-1 15-6 20-10 6-5 13-8 20-7 5 1 8 4 8 6-3 4-9 7-16 7-7 0-12 2-17 5L5 52l8-6z"
      />
      <path class="near" d="M40 34C28 29 13 21 4 8c4 17 13 30 29 33 5 0 8-3 7-7z" />
      <path class="cap" d="M39 28.300c5-1.800 11-.3 13 5.200-4-1.500-8-1.500-12-.8z" />
      <path class="bill" d="M51.600 32.300l8.400 3.500-9-.2z" />
    </svg>
  );
}
