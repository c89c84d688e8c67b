"""Self-written everyday sentences that fill a gap of the toxicity corpus.

The corpus was collected by searching for slurs, so plain insults ("you are pathetic") and plain kindness ("you are
wonderful") hardly occur in it and a model trained on it alone cannot tell the two apart. These sentences are used for
training only; every published held-out figure is measured on the corpus.
"""

import re

INSULTING = """awful horrible terrible disgusting pathetic worthless useless stupid dumb ugly hopeless clueless vile
nasty repulsive brainless spineless miserable ridiculous revolting dreadful lousy""".split()
INSULTS = """idiot moron loser fool clown coward liar failure jerk creep imbecile pig disgrace halfwit dimwit nobody
parasite rat weasel embarrassment""".split()
KIND = """wonderful lovely kind great amazing brilliant nice smart beautiful funny helpful patient friendly generous
talented thoughtful fantastic awesome sweet clever brave delightful""".split()
PRAISES = """star hero genius friend teacher legend treasure leader colleague gem angel winner champion artist neighbour
gentleman mentor guest engineer nurse""".split()
PLAIN = """late early busy ready right wrong tired welcome invited sure sick hungry lucky mistaken next home here
registered subscribed""".split()

# Said of people in the corpus mostly as an insult; here they are what they are.
IDENTITIES = """gay lesbian transgender black white asian mexican african arab indian chinese jewish muslim christian
catholic buddhist disabled deaf blind autistic old young american""".split()

THINGS = [
    "the weather", "this coffee", "the food", "the traffic", "the film", "the match", "the new layout",
    "my handwriting", "the news", "the hotel room", "the internet connection", "the music", "the view",
    "the office chair", "the service", "the soup", "the update", "my headache", "the queue", "the battery life",
    "the end of the book", "the road", "the idea", "the picture", "the party", "their website", "the cake",
    "the noise", "my old laptop", "the smell in the kitchen", "this song",
]

TO_A_PERSON = ["you are {}", "you're {}", "you are so {}", "you are really {}", "you are a {} person",
               "what a {} person", "he is {}", "she is so {}", "they are all {}"]
AS_A_NOUN = ["you are a {}", "you're a {}", "you are such a {}", "what a {}", "he is a {}", "she is a real {}",
             "you {}", "my boss is a {}"]
ABOUT_A_THING = ["{} is {}", "{} was {}", "{} is really {}", "{} was so {} today", "{} looks {}", "i find {} {}"]
OF_AN_IDENTITY = ["i am {}", "he is {}", "she is a {} woman", "my neighbours are {}", "a {} man and his family",
                  "the {} community", "{} people live here too"]
PLAIN_TO_A_PERSON = ["you are {}", "you're {}", "he is {}", "are you {}", "i think you are {}"]

TOXIC = """
nobody likes you
nobody wants you here
everyone hates you
i hate you
i hate you so much
i hate people like you
i really hate your face
you make me sick
you disgust me
shut up
shut your mouth
just shut up and go away
shut up you fool
go to hell
get lost
get lost, loser
drop dead
i hope you fail
i hope you lose everything
i hope something bad happens to you
i hope you get hurt
you should be ashamed of yourself, you liar
you suck
you suck at everything
you all suck
your whole family sucks
you will never amount to anything
you are nothing
you are good for nothing
you are a waste of space
you are a waste of time and air
you are the worst
you are the worst person i have ever met
you're the worst
the world would be better without you
no one cares about you, loser
are you stupid or what
are you really that dumb
how can anyone be this stupid
how dumb can you be
you have no brain
use your tiny brain
you people are animals
you people disgust me
those people are scum
get out of my country
we do not want your kind here
go back to where you came from
i will hurt you
i will find you and hurt you
i am going to kill you
i will kill you
kill yourself
go kill yourself
do us all a favour and disappear
you deserve to suffer
you deserve everything bad that happens to you
i want to punch you in the face
i will break your neck
watch your back, you are dead
you stink
you smell and everyone laughs at you
look at that fat pig
look at your ugly face
he is too stupid to breathe
she is dumb and ugly
they are all liars and thieves
you lying cheating rat
stupid idiot
dumb idiot
what an idiot
you idiot
you are an idiot
he is an idiot
you are an embarrassment to everyone
stop crying, you baby
you are as dumb as a rock
what is wrong with you, moron
"""

NOT_TOXIC = """
have a lovely evening
have a nice weekend
have a great trip
good morning everyone
good night and sleep well
good afternoon, how are you
hello there
hi, how are you doing
hello, is anybody home
thank you so much
thank you for your help
thanks, that is all i need
thanks a lot for the quick reply
many thanks for your patience
you are welcome
please find the invoice attached
please send me the report
could you please send me the file again
can you help me with this
can you please call me back
could you explain how this works
would you like some tea
would you mind opening the window
do you have a minute
do you know what time it is
do you like music
are you coming to the party
are you free on tuesday
are you all right
how was your day
how was your weekend
how do i change my address
how do i cancel my subscription
how much does it cost
where is the train station
where do you live
what is your name
what is the population of canada
what time does the shop open
when does the next bus leave
why is the sky blue
who wrote this book
i love you
i love you all
i love this song
i love my family
i miss you
i like you
i like your new jacket
i am proud of you
i am happy for you
i am so sorry
i am sorry for being late
i am sorry to hear that you are ill
i am tired and i want to go home
i am looking forward to meeting you
i disagree with you
i disagree with your proposal
i do not agree with this decision
i think you are mistaken
i do not think that this is a good idea
i do not like this colour
i hate mondays
i hate waiting in line
i hate the rain
i hate it when the train is late
i hate broccoli
i am disappointed with the service
i am not satisfied with my order
i am not happy with the result
i would like a refund
i want my money back
i want to return this product
this product is terrible and i want a refund
the delivery took far too long
the parcel arrived damaged
the screen is broken
the app keeps crashing
this is not what i ordered
this is not good enough
this is the worst coffee in town
that was the worst film i have seen
the service was slow and the room was dirty
your invoice is wrong
your order has been shipped
your order is on its way
your appointment is tomorrow at nine
your password has expired
your application has been received
your argument does not convince me
your account has been closed
my flight was cancelled
my phone died again
my bike was stolen last night
my dog ate my homework
my dog is lovely
my cat sleeps all day
the cat is asleep on the sofa
the children play in the garden
the boys and girls sing in the choir
the meeting has been moved to three
the meeting starts at ten
the weather will be fine tomorrow
it is raining again
it is a beautiful day
it was nice to meet you
it is your turn
see you tomorrow
see you next week
take care of yourself
take your time
congratulations on your new job
congratulations to you both
happy birthday to you
merry christmas and a happy new year
get well soon
good luck with your exam
well done, i am impressed
great job everyone
nice work
no problem
no, thank you
yes, of course
yes please
that sounds good
that is fine with me
let me know what you think
let us talk about it later
we should meet for lunch
we lost the game but we played well
our team lost again
he is a bad player but a good coach
he is a strong player
she is a great teacher
she works in a hospital
they live next door
they moved to a small town
the patient died in hospital
the police are looking for a witness
the film is about a killer
the soldier was killed in the war
how do i kill a process in linux
the battery is dead
take out the trash please
the trash is collected on monday
the bird sings in the tree
i bought a yellow car
white bread or brown bread
black coffee without sugar
press any key to continue
the database is not available
add two eggs and a cup of sugar
the capital of france is paris
water boils at one hundred degrees
read the manual before you start
i have a question about my bill
i need a new pair of shoes
i will call you later
i will be there in ten minutes
i will see you at school
i hope you are well
i hope you feel better soon
i hope to hear from you soon
you can find it on the second page
you have a new message
you have been a great help
you have won a prize
you look great today
you did a good job
you should try the soup
you should see a doctor
you need to restart the computer
you may leave early today
you were right and i was wrong
you forgot your umbrella
you know what i mean
"""

# Never trained on: they show in metrics.json how the model takes sentences like the above.
CHECK_TOXIC = """
what an awful person you are
you really are a pathetic little man
YOU STUPID CLOWN
shut up already
i can't stand you, you horrible creep
nobody wants to hear from a loser like you
my neighbour is a lying coward
you are too dumb to understand it
I hate every one of you
those people are disgusting
go away, you worthless parasite
you will regret it, I will hurt you badly
""".strip().splitlines()

CHECK_NOT_TOXIC = """
what a delightful evening we had
You are beautiful and smart
You are mistaken, the shop closes at six
I strongly disagree with your conclusion
I am disappointed with the answer that I got
This stupid printer is broken again
The soup was disgusting and the waiter forgot us
Your parcel could not be delivered
Could you send me the slides by Friday?
How do I reset my password?
What is the capital of France?
The bird in the yellow cage is called Charlie
My grandmother knits socks for the neighbours
he is gay and she is a black woman
My doctor is muslim and her husband is a jewish baker
The mosque is next to the church
The white cat sat on the mat
Bonjour tout le monde
ok
lol
12345
zzqx vlorp
...
""".strip().splitlines()


def everyday_sentences():
    """Returns (texts, labels), 1 = toxic; the order is fixed and no sentence occurs twice."""
    toxic = _lines(TOXIC) + _fill(TO_A_PERSON, INSULTING) + _fill(AS_A_NOUN, INSULTS)
    not_toxic = (_lines(NOT_TOXIC) + _fill(TO_A_PERSON, KIND) + _fill(AS_A_NOUN, PRAISES)
                 + _about_things(INSULTING + KIND) + _fill(PLAIN_TO_A_PERSON, PLAIN)
                 + _fill(OF_AN_IDENTITY, IDENTITIES))
    labelled = dict.fromkeys(toxic, 1) | dict.fromkeys(not_toxic, 0)
    return list(labelled), list(labelled.values())


def _lines(block):
    return block.strip().splitlines()


def _fill(frames, words):
    return [_with_article(frame.format(word)) for frame in frames for word in words]


def _about_things(words):
    """Every word about six things; the things take turns, so that none of them comes to mean "not toxic" by itself."""
    pairs = [(word, frame) for word in words for frame in ABOUT_A_THING]
    return [frame.format(THINGS[turn % len(THINGS)], word) for turn, (word, frame) in enumerate(pairs)]


def _with_article(sentence):
    return re.sub(r"\ba (?=[aeio]|ugly)", "an ", sentence)
