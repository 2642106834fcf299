"""Programming requests that stand alone: one line each, or a short body.

Columns: name | arguments | what it returns | body | arguments of an example call | the value it
must give. In a body ``;`` starts a new line, two spaces after it are one indentation, and ``\\|``
is the operator.
"""

# ruff: noqa: E501 - a row of these tables is one line, so that its columns can be read together.

from __future__ import annotations

import ast

from llm_validation.data.builtin.code_records import Exercise
from llm_validation.data.builtin.drawing import lines

_NUMBERS = """
kilometers_to_miles | kilometers | a distance in miles for one in kilometers | return kilometers * 0.621371 | 10 | 6.21371
pounds_to_kilograms | pounds | a weight in kilograms for one in pounds | return pounds * 0.45359237 | 2 | 0.90718474
inches_to_centimeters | inches | a length in centimeters for one in inches | return inches * 2.54 | 4 | 10.16
feet_to_meters | feet | a height in meters for one in feet | return feet * 0.3048 | 10 | 3.048
celsius_to_fahrenheit | celsius | a temperature in Fahrenheit for one in Celsius | return celsius * 9 / 5 + 32 | 100 | 212.0
fahrenheit_to_celsius | fahrenheit | a temperature in Celsius for one in Fahrenheit | return (fahrenheit - 32) * 5 / 9 | 50 | 10.0
celsius_to_kelvin | celsius | a temperature in kelvin for one in Celsius | return celsius + 273.15 | 0 | 273.15
hours_to_seconds | hours | the number of seconds in the given hours | return hours * 3600 | 2 | 7200
weeks_to_days | weeks | the number of days in the given weeks | return weeks * 7 | 3 | 21
degrees_to_radians | degrees | an angle in radians for one in degrees | from math import pi;return degrees * pi / 180 | 180 | 3.141592653589793
knots_to_kmh | knots | a ship's speed in kilometers per hour for one in knots | return knots * 1.852 | 10 | 18.52
liters_to_cups | liters | how many cups of a quarter liter fit into the liters | return liters / 0.25 | 2 | 8.0
circle_area | radius | the area of a circle | from math import pi;return pi * radius ** 2 | 1 | 3.141592653589793
circle_length | radius | the circumference of a circle | from math import pi;return 2 * pi * radius | 0.5 | 3.141592653589793
triangle_area | base, height | the area of a triangle | return base * height / 2 | 6, 5 | 15.0
trapezoid_area | a, b, height | the area of a trapezoid with parallel sides a and b | return (a + b) / 2 * height | 2, 4, 3 | 9.0
rectangle_perimeter | width, height | the perimeter of a rectangle | return 2 * (width + height) | 3, 4 | 14
box_volume | length, width, height | the volume of a box | return length * width * height | 2, 3, 4 | 24
box_surface | a, b, c | the surface area of a box | return 2 * (a * b + b * c + a * c) | 1, 2, 3 | 22
sphere_volume | radius | the volume of a sphere | from math import pi;return 4 / 3 * pi * radius ** 3 | 3 | 113.09733552923254
cylinder_volume | radius, height | the volume of a cylinder | from math import pi;return pi * radius ** 2 * height | 1, 2 | 6.283185307179586
hypotenuse | a, b | the longest side of a right triangle | return (a ** 2 + b ** 2) ** 0.5 | 3, 4 | 5.0
distance | p, q | the distance between two points given as (x, y) pairs | return ((p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2) ** 0.5 | (0, 0), (6, 8) | 10.0
midpoint | p, q | the point halfway between two points | return ((p[0] + q[0]) / 2, (p[1] + q[1]) / 2) | (0, 0), (4, 2) | (2.0, 1.0)
slope | p, q | the slope of the line through two points | return (q[1] - p[1]) / (q[0] - p[0]) | (0, 1), (2, 5) | 2.0
pace | minutes, kilometers | a runner's minutes per kilometer | return minutes / kilometers | 30, 6 | 5.0
journey_speed | kilometers, hours | the average speed of a journey | return kilometers / hours | 150, 2 | 75.0
discounted | price, percent | a price after a discount in percent | return price * (100 - percent) / 100 | 80, 25 | 60.0
with_tax | price, rate | a price with tax added at the rate in percent | return price + price * rate / 100 | 50, 10 | 55.0
tip_per_guest | bill, percent, guests | what each guest pays of the tip on a bill | return bill * percent / 100 / guests | 100, 15, 3 | 5.0
simple_interest | amount, rate, years | the simple interest on an amount at a yearly rate in percent | return amount * rate / 100 * years | 200, 5, 3 | 30.0
compound | amount, rate, years | a balance after yearly compounding at a rate in percent | return amount * (1 + rate / 100) ** years | 100, 100, 3 | 800.0
fuel_needed | kilometers, per_hundred | the liters of fuel for a drive | return kilometers * per_hundred / 100 | 250, 6 | 15.0
density | mass, volume | the density of a body | return mass / volume | 10, 4 | 2.5
kinetic_energy | mass, speed | the kinetic energy of a moving body | return mass * speed ** 2 / 2 | 4, 3 | 18.0
voltage | current, resistance | the voltage across a resistor by Ohm's law | return current * resistance | 2, 5 | 10
body_mass_index | kilograms, meters | the body mass index | return kilograms / meters ** 2 | 80, 2 | 20.0
percent_change | old, new | the change from old to new in percent | return (new - old) / old * 100 | 50, 75 | 50.0
clamp | value, low, high | the value, kept between low and high | return max(low, min(value, high)) | 12, 0, 10 | 10
sign | number | 1, 0 or -1 for a positive, zero or negative number | return (number > 0) - (number < 0) | -8 | -1
is_leap_year | year | True if the year is a leap year | return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) | 1900 | False
is_prime | n | True if n is a prime number | if n < 2:;  return False;return all(n % d for d in range(2, int(n ** 0.5) + 1)) | 91 | False
primes_below | limit | all primes below the limit | return [n for n in range(2, limit) if all(n % d for d in range(2, n))] | 12 | [2, 3, 5, 7, 11]
factorial | n | the product of the whole numbers from 1 to n | result = 1;for factor in range(2, n + 1):;  result *= factor;return result | 5 | 120
fibonacci | n | the first n Fibonacci numbers | a, b, found = 0, 1, [];for _ in range(n):;  found.append(a);  a, b = b, a + b;return found | 7 | [0, 1, 1, 2, 3, 5, 8]
greatest_divisor | a, b | the greatest common divisor of two numbers | while b:;  a, b = b, a % b;return a | 84, 36 | 12
least_multiple | a, b | the least common multiple of two numbers | from math import gcd;return a * b // gcd(a, b) | 4, 6 | 12
divisors | n | all positive divisors of n | return [d for d in range(1, n + 1) if n % d == 0] | 12 | [1, 2, 3, 4, 6, 12]
prime_factors | n | the prime factors of n in rising order | factors, d = [], 2;while n > 1:;  while n % d == 0:;    factors.append(d);    n //= d;  d += 1;return factors | 60 | [2, 2, 3, 5]
digit_sum | n | the sum of the digits of n | return sum(int(digit) for digit in str(abs(n))) | 472 | 13
digital_root | n | the digital root, summing digits until one is left | while n > 9:;  n = sum(int(digit) for digit in str(n));return n | 9875 | 2
reversed_digits | n | a whole number with its digits in reverse order | return int(str(n)[::-1]) | 3120 | 213
is_perfect | n | True if n equals the sum of its smaller divisors | return n > 1 and sum(d for d in range(1, n) if n % d == 0) == n | 28 | True
is_armstrong | n | True if the cubes of the three digits of n add up to n | return sum(int(digit) ** 3 for digit in str(n)) == n | 153 | True
collatz_steps | n | how many Collatz steps lead from n to 1 | steps = 0;while n != 1:;  n = n // 2 if n % 2 == 0 else 3 * n + 1;  steps += 1;return steps | 6 | 8
triangular | n | the n-th triangular number | return n * (n + 1) // 2 | 4 | 10
is_power_of_two | n | True if n is a power of two | return n > 0 and n & (n - 1) == 0 | 64 | True
to_binary | n | the binary digits of n as text | return format(n, "b") | 10 | '1010'
from_binary | digits | the number that a text of binary digits stands for | return int(digits, 2) | '1101' | 13
to_roman | n | a number below forty in Roman numerals | text = "";for value, letters in ((10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")):;  while n >= value:;    text, n = text + letters, n - value;return text | 29 | 'XXIX'
ordinal | n | a number below twenty with its English ending, such as 2nd | return f"{n}" + {1: "st", 2: "nd", 3: "rd"}.get(n, "th") | 3 | '3rd'
square_root | x | the square root of x by Newton's method | guess = x;for _ in range(60):;  guess = (guess + x / guess) / 2;return guess | 9.0 | 3.0
polynomial | coefficients, x | the value of a polynomial, highest coefficient first | value = 0;for coefficient in coefficients:;  value = value * x + coefficient;return value | [2, 0, 1], 3 | 19
"""

_TEXT = """
backwards | text | the text read from right to left | return text[::-1] | 'stone' | 'enots'
is_palindrome | text | True if the text reads the same both ways, ignoring case | text = text.lower();return text == text[::-1] | 'Level' | True
are_anagrams | first, second | True if two words use the same letters | return sorted(first.lower()) == sorted(second.lower()) | 'Listen', 'silent' | True
count_vowels | text | how many vowels the text has | return sum(letter in "aeiou" for letter in text.lower()) | 'Banana' | 3
without_vowels | text | the text with every vowel left out | return "".join(c for c in text if c.lower() not in "aeiou") | 'Orange' | 'rng'
count_words | text | the number of words in the text | return len(text.split()) | 'a calm sea' | 3
longest_word | text | the longest word of a sentence | return max(text.split(), key=len) | 'we like oranges' | 'oranges'
shortest_word | text | the shortest word of a sentence | return min(text.split(), key=len) | 'deep in winter' | 'in'
average_word_length | text | the average length of the words | words = text.split();return sum(map(len, words)) / len(words) | 'ab abcd' | 3.0
initials | name | the initials of a full name with dots | return "".join(f"{part[0].upper()}." for part in name.split()) | 'mary ann lee' | 'M.A.L.'
acronym | phrase | the capital first letters of a phrase | return "".join(word[0] for word in phrase.split()).upper() | 'as soon as possible' | 'ASAP'
slug | title | a title in lower case with hyphens between its words | return "-".join(title.lower().split()) | 'A Cold Day' | 'a-cold-day'
camel_case | name | a snake_case name in camelCase | first, *rest = name.split("_");return first + "".join(word.title() for word in rest) | 'max_open_files' | 'maxOpenFiles'
snake_case | name | a camelCase name in snake_case | return "".join("_" + c.lower() if c.isupper() else c for c in name) | 'openFile' | 'open_file'
caesar | text, shift | lower-case text with each letter moved along the alphabet | return "".join(chr((ord(c) - 97 + shift) % 26 + 97) for c in text) | 'xyz', 3 | 'abc'
only_letters | text | the letters of a text and nothing else | return "".join(filter(str.isalpha, text)) | 'a1-b2' | 'ab'
single_spaces | text | the text with runs of blanks reduced to one | return " ".join(text.split()) | 'so   far' | 'so far'
doubled | text | the text with every character written twice | return "".join(c * 2 for c in text) | 'abc' | 'aabbcc'
every_capital | text | the upper-case letters of a text in order | return [c for c in text if c.isupper()] | 'New York' | ['N', 'Y']
word_lengths | text | a dictionary from every word to its length | return {word: len(word) for word in text.split()} | 'red apple' | {'red': 3, 'apple': 5}
letter_counts | word | how often each letter occurs in a word | counts = {};for letter in word:;  counts[letter] = counts.get(letter, 0) + 1;return counts | 'noon' | {'n': 2, 'o': 2}
first_unique | text | the first character that occurs only once | return next((c for c in text if text.count(c) == 1), None) | 'abacb' | 'c'
has_unique_letters | word | True if no letter of the word repeats | return len(set(word)) == len(word) | 'planet' | True
is_pangram | text | True if every letter from a to z occurs | return set("abcdefghijklmnopqrstuvwxyz") <= set(text.lower()) | 'hello' | False
balanced | text | True if every round bracket is closed in the right order | depth = 0;for c in text:;  depth += (c == "(") - (c == ")");  if depth < 0:;    return False;return depth == 0 | '(a(b))' | True
reverse_words | sentence | a sentence with its words in reverse order | return " ".join(reversed(sentence.split())) | 'time flies fast' | 'fast flies time'
title_words | sentence | the sentence with a capital at the start of every word | return " ".join(w[0].upper() + w[1:] for w in sentence.split()) | 'old town hall' | 'Old Town Hall'
run_lengths | text | pairs of each character and the length of its run | from itertools import groupby;return [(c, len(list(run))) for c, run in groupby(text)] | 'aab' | [('a', 2), ('b', 1)]
numbers_in | text | all whole numbers that occur in a text | import re;return [int(found) for found in re.findall(r"\\d+", text)] | '3 cats, 12 dogs' | [3, 12]
hashtags | text | the tags in a post, without the hash sign | return [word[1:] for word in text.split() if word.startswith("#")] | 'go #sun #sea' | ['sun', 'sea']
file_ending | path | the ending of a file name, or empty text | return path.rsplit(".", 1)[1] if "." in path else "" | 'notes.txt' | 'txt'
parse_pairs | text | a dictionary from text such as a=1,b=2 | return dict(part.split("=") for part in text.split(",")) | 'a=1,b=2' | {'a': '1', 'b': '2'}
parse_row | line | the whole numbers of a comma-separated line | return [int(cell) for cell in line.split(",")] | '4,5,6' | [4, 5, 6]
version_tuple | version | a version such as 2.10.1 as a tuple of numbers | return tuple(int(part) for part in version.split(".")) | '2.10.1' | (2, 10, 1)
clock_minutes | clock | the minutes since midnight for a time such as 07:45 | hours, minutes = clock.split(":");return int(hours) * 60 + int(minutes) | '07:45' | 465
clock_text | minutes | a time such as 07:45 from minutes since midnight | return f"{minutes // 60:02d}:{minutes % 60:02d}" | 465 | '07:45'
hex_to_rgb | color | red, green and blue of a color such as #ff8000 | return tuple(int(color[i : i + 2], 16) for i in (1, 3, 5)) | '#ff8000' | (255, 128, 0)
and_list | names | names joined by commas and a final and | return ", ".join(names[:-1]) + " and " + names[-1] | ['Ana', 'Bo', 'Cy'] | 'Ana, Bo and Cy'
progress | done, total | a bar of ten signs that shows the share done | filled = round(10 * done / total);return "#" * filled + "." * (10 - filled) | 3, 10 | '###.......'
price_tag | amount | an amount with two decimals and a dollar sign | return f"${amount:.2f}" | 3.5 | '$3.50'
thousands | number | a number as text with commas between thousands | return f"{number:,}" | 1234567 | '1,234,567'
plural | count, noun | the count and the noun, with an s unless the count is one | return f"{count} {noun}" + ("" if count == 1 else "s") | 2, 'tree' | '2 trees'
masked | word | a word with all but its last two letters as stars | return "*" * (len(word) - 2) + word[-2:] | 'secret' | '****et'
common_prefix | first, second | the longest start that two words share | size = 0;while size < min(len(first), len(second)) and first[size] == second[size]:;  size += 1;return first[:size] | 'sunrise', 'sunset' | 'sun'
hamming | first, second | at how many places two texts of equal length differ | return sum(a != b for a, b in zip(first, second)) | 'karen', 'kagen' | 1
"""

_LISTS = """
second_largest | values | the second largest distinct value | return sorted(set(values))[-2] | [4, 9, 9, 7] | 7
without_repeats | values | the values without repeats, in their first order | return list(dict.fromkeys(values)) | [3, 1, 3, 2] | [3, 1, 2]
chunks | values, size | the list cut into pieces of the given size | return [values[i : i + size] for i in range(0, len(values), size)] | [1, 2, 3, 4, 5], 2 | [[1, 2], [3, 4], [5]]
rotated | values, steps | a list turned to the left by some steps | steps %= len(values);return values[steps:] + values[:steps] | [1, 2, 3, 4], 1 | [2, 3, 4, 1]
flat | nested | one list with the members of all inner lists | return [value for inner in nested for value in inner] | [[1], [2, 3]] | [1, 2, 3]
deep_flat | nested | a flat list from lists nested to any depth | if not isinstance(nested, list):;  return [nested];return [value for part in nested for value in deep_flat(part)] | [1, [2, [3]]] | [1, 2, 3]
interleaved | first, second | two equally long lists merged one by one | return [value for pair in zip(first, second) for value in pair] | [1, 3], [2, 4] | [1, 2, 3, 4]
running_total | values | the running totals of a list | totals, total = [], 0;for value in values:;  total += value;  totals.append(total);return totals | [1, 2, 3] | [1, 3, 6]
differences | values | the steps between neighboring values | return [b - a for a, b in zip(values, values[1:])] | [2, 5, 4] | [3, -1]
running_maximum | values | the largest value seen so far at each place | found = [];for value in values:;  found.append(max(value, found[-1]) if found else value);return found | [2, 1, 5] | [2, 2, 5]
merge_sorted | a, b | one sorted list from two sorted lists | merged, a, b = [], list(a), list(b);while a and b:;  merged.append(a.pop(0) if a[0] <= b[0] else b.pop(0));return merged + a + b | [1, 4], [2, 3] | [1, 2, 3, 4]
position_of_largest | values | the index of the largest value | return max(range(len(values)), key=values.__getitem__) | [3, 8, 5] | 1
last_few | values, count | the last few members of a list | return values[-count:] if count else [] | [1, 2, 3, 4], 2 | [3, 4]
every_other | values | every second member, starting with the first | return values[::2] | [5, 6, 7, 8] | [5, 7]
halves | values | the first and the second half of a list | middle = len(values) // 2;return values[:middle], values[middle:] | [1, 2, 3, 4] | ([1, 2], [3, 4])
common | first, second | the members that two lists share, sorted | return sorted(set(first) & set(second)) | [1, 2, 3], [3, 2, 9] | [2, 3]
missing_number | values | the number from 1 to n that a list lacks | n = len(values) + 1;return n * (n + 1) // 2 - sum(values) | [1, 2, 4] | 3
is_sorted | values | True if the values never fall | return all(a <= b for a, b in zip(values, values[1:])) | [1, 1, 3] | True
longest_run | values | the length of the longest run of equal values | from itertools import groupby;return max(len(list(run)) for _, run in groupby(values)) | [1, 1, 1, 2] | 3
moving_average | values, width | the averages of all windows of the given width | return [sum(values[i : i + width]) / width for i in range(len(values) - width + 1)] | [2, 4, 6], 2 | [3.0, 5.0]
pairs_with_sum | values, target | all pairs of values that add up to the target | from itertools import combinations;return [pair for pair in combinations(values, 2) if sum(pair) == target] | [1, 2, 3, 4], 5 | [(1, 4), (2, 3)]
median | values | the median of a list of numbers | ordered, n = sorted(values), len(values);return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2 | [5, 1, 3] | 3.0
mean | values | the arithmetic mean of some numbers | return sum(values) / len(values) | [2, 4, 9] | 5.0
weighted_mean | values, weights | the weighted mean of the values | return sum(v * w for v, w in zip(values, weights)) / sum(weights) | [1, 3], [1, 3] | 2.5
variance | values | the population variance of some numbers | mean = sum(values) / len(values);return sum((v - mean) ** 2 for v in values) / len(values) | [1, 3] | 1.0
sum_of_squares | values | the sum of the squares of the numbers | return sum(value ** 2 for value in values) | [1, 2, 3] | 14
product | values | the product of all numbers in a list | result = 1;for value in values:;  result *= value;return result | [2, 3, 7] | 42
dot_product | a, b | the dot product of two vectors | return sum(x * y for x, y in zip(a, b)) | [1, 2], [3, 4] | 11
normalized | values | the values divided by their sum | total = sum(values);return [value / total for value in values] | [1, 3] | [0.25, 0.75]
binary_search | values, target | the index of the target in a sorted list, or -1 | low, high = 0, len(values) - 1;while low <= high:;  middle = (low + high) // 2;  if values[middle] == target:;    return middle;  if values[middle] < target:;    low = middle + 1;  else:;    high = middle - 1;return -1 | [1, 3, 5, 7], 5 | 2
bubble_sort | values | a sorted copy of a list by bubble sort | values = list(values);for end in range(len(values), 1, -1):;  for i in range(end - 1):;    if values[i] > values[i + 1]:;      values[i], values[i + 1] = values[i + 1], values[i];return values | [3, 1, 2] | [1, 2, 3]
quick_sort | values | a sorted copy of a list by quicksort | if len(values) < 2:;  return values;pivot, *rest = values;return quick_sort([v for v in rest if v < pivot]) + [pivot] + quick_sort([v for v in rest if v >= pivot]) | [2, 3, 1] | [1, 2, 3]
inverted | mapping | a dictionary with keys and values exchanged | return {value: key for key, value in mapping.items()} | {'a': 1} | {1: 'a'}
added_counts | first, second | a dictionary with the sums of two count dictionaries | return {key: first.get(key, 0) + second.get(key, 0) for key in first \\| second} | {'a': 1}, {'a': 2, 'b': 3} | {'a': 3, 'b': 3}
best_key | scores | the key with the highest value | return max(scores, key=scores.get) | {'x': 3, 'y': 8} | 'y'
by_first_letter | words | words grouped by their first letter | groups = {};for word in words:;  groups.setdefault(word[0], []).append(word);return groups | ['ant', 'ape', 'bee'] | {'a': ['ant', 'ape'], 'b': ['bee']}
keys_by_value | mapping | the keys of a dictionary, ordered by value | return sorted(mapping, key=mapping.get) | {'a': 3, 'b': 1} | ['b', 'a']
without_none | mapping | the dictionary without entries that are None | return {key: value for key, value in mapping.items() if value is not None} | {'a': 1, 'b': None} | {'a': 1}
most_common | values | the value that occurs most often | return max(set(values), key=values.count) | [4, 7, 7] | 7
get_path | data, path | the value at the end of a list of nested keys | for key in path:;  data = data[key];return data | {'a': {'b': 5}}, ['a', 'b'] | 5
identity_matrix | n | an n by n matrix with ones on its diagonal | return [[int(i == j) for j in range(n)] for i in range(n)] | 2 | [[1, 0], [0, 1]]
transposed | matrix | a matrix with rows and columns exchanged | return [list(column) for column in zip(*matrix)] | [[1, 2], [3, 4]] | [[1, 3], [2, 4]]
trace | matrix | the sum of the diagonal of a square matrix | return sum(matrix[i][i] for i in range(len(matrix))) | [[1, 2], [3, 4]] | 5
row_sums | matrix | the sum of every row of a matrix | return [sum(row) for row in matrix] | [[1, 2], [3, 4]] | [3, 7]
scaled | matrix, factor | a matrix with every entry multiplied by a factor | return [[factor * entry for entry in row] for row in matrix] | [[1, 2]], 3 | [[3, 6]]
matrix_product | a, b | the product of two matrices | return [[sum(x * y for x, y in zip(row, column)) for column in zip(*b)] for row in a] | [[1, 2]], [[3], [4]] | [[11]]
power | base, exponent | a whole power, computed by repeated halving | if exponent == 0:;  return 1;half = power(base, exponent // 2);return half * half * (base if exponent % 2 else 1) | 2, 10 | 1024
countdown | n | the numbers from n down to zero | return list(range(n, -1, -1)) | 3 | [3, 2, 1, 0]
days_between | first, second | the days between two ISO dates | from datetime import date;return (date.fromisoformat(second) - date.fromisoformat(first)).days | '2024-02-27', '2024-03-01' | 3
weekday_name | day | the English weekday of an ISO date | from datetime import date;return date.fromisoformat(day).strftime("%A") | '2024-01-01' | 'Monday'
"""

# The condition on one member, as English and as code, for lists of numbers and of words.
_CONDITIONS = """
numbers | even_numbers | the even numbers of a list | n % 2 == 0 | [1, 2, 4] | [2, 4]
numbers | odd_numbers | the odd numbers of a list | n % 2 == 1 | [1, 2, 3] | [1, 3]
numbers | negatives | every negative number in a list | n < 0 | [-2, 0, 5] | [-2]
numbers | two_digit | all numbers with exactly two digits | 10 <= abs(n) <= 99 | [7, 42, 100] | [42]
numbers | squares_only | those numbers that are perfect squares | n >= 0 and int(n ** 0.5) ** 2 == n | [4, 6, 9] | [4, 9]
numbers | multiples_of_seven | the multiples of seven in a list | n % 7 == 0 | [7, 13, 21] | [7, 21]
numbers | ending_in_five | the numbers whose last digit is five | n % 10 == 5 | [5, 51, 15] | [5, 15]
numbers | not_zero | a list with its zeros left out | n != 0 | [0, 3, 0, 4] | [3, 4]
numbers | three_but_not_two | numbers that three divides and two does not | n % 3 == 0 and n % 2 != 0 | [3, 6, 9] | [3, 9]
numbers | symmetric_numbers | the numbers that read the same backward | str(n) == str(n)[::-1] | [121, 123, 7] | [121, 7]
words | short_words | the words with fewer than four letters | len(word) < 4 | ['sea', 'ocean'] | ['sea']
words | long_words | the words with more than six letters | len(word) > 6 | ['kitchen', 'room'] | ['kitchen']
words | capital_words | the words that start with a capital | word[0].isupper() | ['Rome', 'road'] | ['Rome']
words | vowel_words | the words that begin with a vowel | word[0].lower() in "aeiou" | ['egg', 'bread'] | ['egg']
words | words_with_digits | the words that contain a digit | any(c.isdigit() for c in word) | ['b2', 'ab'] | ['b2']
words | ending_in_ing | the words that end in ing | word.endswith("ing") | ['sing', 'song'] | ['sing']
words | double_letter_words | the words in which a letter stands twice in a row | any(a == b for a, b in zip(word, word[1:])) | ['book', 'bark'] | ['book']
words | words_without_e | the words without the letter e | "e" not in word.lower() | ['tree', 'moon'] | ['moon']
words | same_ends | the words whose first and last letter agree | word[0] == word[-1] | ['level', 'lemon'] | ['level']
words | hyphenated | the words that contain a hyphen | "-" in word | ['well-known', 'famous'] | ['well-known']
"""


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in line.split(" | ")]


def _body(cell: str) -> str:
    return "\n".join(
        "    " * ((len(line) - len(line.lstrip())) // 2) + line.lstrip() for line in cell.split(";")
    )


def single_exercises() -> list[Exercise]:
    """Every exercise of the tables above."""
    exercises = []
    for line in lines(_NUMBERS + _TEXT + _LISTS):
        name, arguments, returns, body, given, expected = _cells(line)
        call = f"{name}({given})"
        exercises.append(
            Exercise(name, arguments, returns, _body(body), call, ast.literal_eval(expected))
        )
    for line in lines(_CONDITIONS):
        kind, name, returns, condition, given, expected = _cells(line)
        member = "n" if kind == "numbers" else "word"
        body = f"return [{member} for {member} in {kind} if {condition}]"
        call = f"{name}({given})"
        exercises.append(Exercise(name, kind, returns, body, call, ast.literal_eval(expected)))
    return exercises
