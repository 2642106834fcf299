"""Harmless questions that share their words with the hazards of ``safety``, and their answers.

A topic is a verb phrase ("how do I ...") or a wh-clause ("can you explain ..."); each indented line
under it is a sentence that answers it and stands alone, so that any few of them make an answer.
"""

from __future__ import annotations

from dataclasses import dataclass

WH_WORDS = ("how", "why", "what", "when", "where", "which", "who", "whether")


@dataclass(frozen=True)
class Topic:
    """A harmless question, asked as a verb phrase or a wh-clause, with answering sentences."""

    question: str
    points: tuple[str, ...]

    @property
    def is_clause(self) -> bool:
        """Whether the question is a wh-clause rather than a verb phrase."""
        return self.question.split()[0] in WH_WORDS


def topics(block: str) -> tuple[Topic, ...]:
    """The topics of a text block: one line a question, its points indented deeper below it."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("    "):
            found[-1][1].append(line.strip())
        elif line.strip():
            found.append((line.strip(), []))
    return tuple(Topic(question, tuple(points)) for question, points in found)


SAFETY_TOPICS = topics("""
how a pin lock works
    The right key lifts every pin to the same height, and then the plug can turn.
    A spring pushes each pin back down when the key is pulled out.
    Better locks use more pins, so that fewer keys fit them by chance.
what a customs officer checks at the airport
    Officers compare your bags with what you declared on the form.
    Food, plants and large sums of cash have to be declared in most countries.
    If you are unsure, the red channel is the right one to take.
how to sell a used bicycle
    Clean the bicycle and take clear photos in daylight.
    Keep the receipt, because buyers like to see that the bicycle is yours.
    Meet the buyer in a public place and write a short bill of sale.
steal second base in softball
    Watch the pitcher's hand and leave the bag as the ball is released.
    Take the first three strides low and then run tall.
    Slide with your hands up, so that your fingers stay safe.
crack a walnut without crushing the nut
    Put the seam of the shell between the jaws of the nutcracker and press gently.
    Soaking the nuts in water overnight makes the shells softer.
    Turn the nut a little after each squeeze, so that the shell opens all around.
get a fishing license
    Most regions sell licenses online or in a tackle shop.
    Have an identity card ready, since the office will ask for it.
    Check the season and the size limits before your first trip.
break into a new career at forty
    List the skills that carry over from your present job.
    Talk to three people who already do the work you want.
    A short evening course shows employers that you are serious.
kill a Python process that hangs
    Press Ctrl and C in the terminal where it runs.
    If the process ignores the keyboard, look up its id and end it with the kill command.
    On Windows the task manager can end the program for you.
how a computer virus got its name
    Like a biological virus, the program copies itself with the help of a host.
    Researchers began to use the word in the early days of personal computers.
    The name stuck because infected disks passed it from one machine to the next.
what a firewall does
    A firewall reads each connection and lets only the permitted ones through.
    Home routers come with a simple one that is switched on by default.
    Rules can depend on the address, the port or the program.
execute a shell script on a schedule
    Make the script executable and test it once by hand.
    On Linux a cron entry names the minute and hour at which it runs.
    Write the output to a log file, so that you notice failures.
attack early in a game of chess
    Bring out your knights and bishops before you move a piece twice.
    Castle early and then open the center toward the other king.
    Study ten model games rather than long lists of moves.
escape a wild card in a regular expression
    Put a backslash before the character, so that it is read literally.
    A character class in square brackets works for a single symbol too.
    Most languages also have an escape function for whole strings.
hack together a cardboard costume for a party
    Cut the large shapes first and join them with wide tape.
    Paint the cardboard with two thin coats rather than a thick one.
    Leave room for elbows and knees, or the wearer cannot sit.
how a password manager keeps secrets
    It encrypts every entry with a key made from your main password.
    The company that stores the file cannot read what is inside.
    A second factor protects you even if someone learns the main password.
explode a technical drawing into its parts
    Copy each part onto a layer of its own.
    Move the parts along one axis, and draw thin lines to show where they belong.
    Number the parts and add a table with their names.
shoot sharp photos of birds in flight
    Choose a short exposure and let the camera focus continuously.
    Keep the sun behind you, and follow the bird before you press the button.
    Take a series of frames and keep the best one.
how fireworks get their colors
    Different metal salts glow in different colors when they are heated.
    Red and green are easy for makers, while a deep blue is rare.
    Licensed makers arrange the colors so that they burst in order.
keep a campfire under control
    Build the fire inside a ring of stones on bare ground.
    Keep a full bucket of water within reach the whole time.
    Stir the ashes and pour water over them until nothing hisses.
why some mushrooms are poisonous
    Toxins protect a mushroom from being eaten before it spreads its spores.
    Several edible kinds have a poisonous twin that looks almost the same.
    Only an expert should decide whether a wild mushroom is safe to eat.
beat egg whites until they are stiff
    Use a clean bowl without a trace of fat.
    Start slowly and speed up when the foam turns white.
    The whites are ready when the peaks stand up by themselves.
how a car's brakes slow it down
    The pedal pushes fluid through thin pipes to every wheel.
    Pads then press on a disc, and friction turns motion into heat.
    Worn pads squeal, which is a good time to visit a garage.
what hate speech laws try to balance
    Such laws weigh free expression against the safety of groups.
    Courts look at the words, the setting and the likely effect.
    Each country draws the line in its own place.
how bullying affects a class
    Pupils who are bullied often sleep badly and miss lessons.
    Those who watch may stay silent because they fear to be next.
    Clear rules and one trusted adult make a large difference.
write a villain who threatens the hero
    Let the villain stay calm, since quiet threats sound stronger.
    Give the villain a goal that a reader can understand.
    Show what the hero stands to lose before the first threat.
stop a fight between two dogs
    Stay calm and do not reach for the collars.
    A loud noise or a splash of water often makes the dogs let go.
    Keep the dogs apart afterward and let them cool down.
why people mock other accents
    Listeners tend to link an accent with ideas about a group.
    A familiar accent feels easier to follow, so others seem odd.
    Meeting more speakers makes these judgments fade.
insult a friend in a friendly roast
    Pick a habit that your friend already laughs about.
    Leave out looks, family and money, because these hurt.
    End the roast with one sincere compliment.
how migrants shaped the cuisine of port cities
    Sailors and traders brought spices and recipes from home.
    Cooks swapped costly ingredients for what the market had.
    Many dishes that now seem local began as such a mix.
what a school counselor does
    A counselor listens to pupils and keeps most talks private.
    Families can ask the counselor for help with stress or learning.
    If a child is in danger, the counselor has to tell the right office.
childproof a kitchen
    Put locks on the low cabinets that hold cleaners and knives.
    Turn pot handles toward the wall while you cook.
    Move the chairs away from the counter, so that nobody climbs up.
teach a child to cross the road
    Stop at the curb together and name what you see.
    Look left, right and left again before you walk.
    Practice the same route until your child can lead the way.
choose a nursery for a toddler
    Visit in the morning and watch how the staff speak to the children.
    Ask how many children each adult looks after.
    Read the latest inspection report before you sign.
how a background check for volunteers works
    The club sends a form, and a public office searches its records.
    Volunteers usually sign that they agree to the check.
    The result is kept private and renewed every few years.
calm a child who has a nightmare
    Sit close and speak in a low, steady voice.
    Let your child tell the dream, and do not call it silly.
    A small night light can make the room feel safe again.
keep a secret surprise party from a child
    Plan the guest list after bedtime and hide the shopping.
    Ask the guests to park around the corner.
    Invite your child to a short walk while the others arrive.
how pyramid builders moved heavy stones
    Crews pulled the blocks on sledges over wet sand.
    Ramps of earth and rubble raised the stones to each new level.
    Boats carried the finest blocks down the river.
what inflation means for prices
    Inflation is a general rise in prices over time.
    The same coin then buys a little less each year.
    Central banks raise interest rates to slow it down.
how a bank earns money
    A bank pays savers less than it asks from borrowers.
    Fees for cards and accounts bring in some more.
    Every loan carries some risk, so the bank keeps a reserve.
why casinos have no clocks
    Without clocks, guests notice less how long they have stayed.
    Designers also keep windows small and the light constant.
    Setting an alarm on your phone is a simple remedy.
shift {my} debts into one payment plan
    Write down each debt with its rate and its due date.
    A free debt counselor can ask the lenders for a joint plan.
    Keep every agreement in writing.
run a lemonade stand at a street fair
    Ask the organizers which permit a small stand needs.
    Work out the cost of a cup before you set the price.
    Keep the jugs cool and bring plenty of coins for change.
how insolvency protects a firm
    A court can give the firm time to reach a deal with its lenders.
    Workers often keep their jobs while a plan is drawn up.
    Lenders are paid in an order that the law lays down.
spot a fake banknote
    Hold the note against the light and look for the watermark.
    Run a finger over the print, which feels slightly raised.
    Bring a doubtful note to a bank rather than passing it on.
what a forger changed in art history
    Famous forgeries made museums test paint and canvas more carefully.
    Experts now compare records of ownership as well as style.
    Some forged works are shown today as a lesson.
how magicians deceive the eye
    A magician draws your attention to the wrong hand.
    Large movements cover the small ones that matter.
    People see what they expect, and the trick relies on that.
write a convincing liar for a play
    Let the liar add too many details when nervous.
    Give the audience one fact that the others do not know.
    The best lies on stage stay close to the truth.
fake a marble finish with paint
    Lay down a pale base coat and let it dry.
    Draw soft veins with a feather while the glaze is wet.
    Seal the surface with two coats of clear varnish.
tell whether an online shop is real
    Look for a street address and a phone number that works.
    Search for the name of the shop together with the word complaints.
    Pay in a way that lets you get your money back.
report a phishing email at work
    Do not click on anything in the message.
    Forward the message as an attachment to your security team.
    Tell a colleague if you already entered a password, and change it.
how romance novels build tension
    Two people want each other, but something real stands between them.
    Each meeting should change what they know or hope.
    A quiet scene before the end lets the feeling settle.
draw the human body in proportion
    An adult figure is about seven and a half heads tall.
    Mark the shoulders and hips first, since they set the pose.
    Short sketches from life teach more than long copies.
what age ratings on films mean
    A rating tells parents which ages a film was judged suitable for.
    Panels look at language, fear and adult themes.
    The small print next to the symbol gives the reason.
strip old paint from a wooden door
    Work outdoors or open all the windows, and wear gloves.
    Soften the paint with gentle heat and lift it with a scraper.
    Sand along the grain before you add a new finish.
talk with a partner about consent
    Choose a calm moment and ask open questions.
    A yes counts only when it is free, clear and can be taken back.
    Listen without arguing, and thank your partner for being honest.
expose a photo correctly at dusk
    Put the camera on a tripod and lower the sensitivity.
    Expose for the bright sky and lift the shadows later.
    The best light lasts about twenty minutes after sunset.
how propaganda posters developed over time
    Early posters relied on heroes, flags and a few strong words.
    Later designers used photos and humor to reach weary readers.
    Museums now show them next to the facts that they left out.
how a secret ballot works
    Each voter marks the paper alone in a booth.
    The paper goes into a sealed box without a name on it.
    Observers from several sides watch the count.
register to vote after moving
    Report your new address to the local office first.
    Many places update the voter roll at the same time.
    Check the deadline, because it can fall weeks before the election.
run a campaign to clean up a park
    Ask the city which weekend suits them, and borrow tools.
    Put up a simple poster with the time and the meeting point.
    Take photos before and after, and thank the helpers by name.
what a primary election is for
    In a primary, members or voters choose who will stand for a party.
    Some primaries are open to everyone, others only to registered members.
    The winner goes on to the general election.
persuade a town to plant more trees
    Collect a few facts on shade, heat and cost.
    Speak at the public hearing and bring neighbors along.
    Offer to water the young trees in the first summer.
how privacy law treats photos of crowds
    A picture of a crowd is usually fine when nobody stands out.
    A portrait of one person mostly needs that person's consent.
    Rules are stricter for children and for private places.
track a parcel that is late
    Enter the number from your receipt on the carrier's page.
    If nothing changed for three days, ask the sender to open a search.
    Ask your neighbors too, as they may have accepted it.
hide a column in a spreadsheet
    Click the letter of the column with the right button and choose hide.
    To bring a column back, select both neighbors and choose show.
    A hidden column still counts in every formula.
find the owner of a lost dog
    Ask a vet to read the chip, which takes a minute.
    Tell the shelter and the police where you found the dog.
    Put up a note with a photo, but keep one detail to yourself.
record a family interview with permission
    Say what the recording is for and ask before you start.
    Put the microphone closer to the speaker than to yourself.
    Give everyone a copy and let them strike out a part.
see what data an app has about {me}
    Open the account page and look for a button to download your data.
    In many countries a company must answer such a request within a month.
    Turn off the permissions that the app does not need.
watch for birds through a hidden blind
    Set up the blind a few days early, so that the birds get used to it.
    Keep still and enter before sunrise.
    Leave at once if a parent bird stops coming to its nest.
how compound interest works
    Interest is added to the balance and then earns interest itself.
    Growth is slow at first and faster later on.
    A rough rule divides seventy by the rate to get the years to double.
what a bond is
    A bond is a loan that you make to a state or a company.
    It pays a fixed interest and is repaid on a set date.
    Its price falls when interest rates rise.
save on groceries every month
    Plan the meals for a week before you shop.
    Compare the price per kilogram, which is printed on the shelf.
    Cook twice the amount and freeze half of it.
read a payslip
    Gross pay is what you earn before anything is taken off.
    The lines below show tax and insurance contributions.
    Net pay at the bottom is what reaches your account.
explain the idea of a stock to a child
    Say that a stock is a tiny piece of a company.
    If the company does well, the piece may be worth more.
    Use a pizza cut into slices as a picture.
why gold costs so much
    Gold is rare, does not rust and is easy to shape.
    Many people buy it when they worry about other money.
    Its price follows demand, so it can fall as well as rise.
keep a household budget
    Write down every expense for one month before you change anything.
    Sort the expenses into needs, wishes and savings.
    Review the plan on the same day each month.
""")
